#include <link.h>
#include <stddef.h>
#include <string.h>

// Where the program begins in memory, as the linker defines it.
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

// What the linker was told of the program by --package-metadata (the UAPI Group's "Package Metadata for Executable
// Files"): text with a zero behind it, which lives as long as the process; NULL where it was told nothing.
static inline const char *program_metadata(void) {
  const char *start = (const char *)&__ehdr_start;
  const ElfW(Phdr) *segments = (const ElfW(Phdr) *)(start + __ehdr_start.e_phoff);
  for (size_t index = 0; index < __ehdr_start.e_phnum; index++) {
    if (segments[index].p_type != PT_NOTE) continue;
    // A segment's address counts from the program's beginning, wherever that was loaded.
    const char *note = start + segments[index].p_vaddr, *end = note + segments[index].p_memsz;
    while (note < end) {
      const ElfW(Nhdr) *header = (const ElfW(Nhdr) *)note;
      const char *name = (const char *)(header + 1), *content = name + ((header->n_namesz + 3) & ~3u);
      if (header->n_type == 0xcafe1a7e && strcmp(name, "FDO") == 0) return content;
      note = content + ((header->n_descsz + 3) & ~3u);
    }
  }
  return NULL;
}
