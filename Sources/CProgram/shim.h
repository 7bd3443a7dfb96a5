#include <link.h>
#include <stddef.h>
#include <string.h>

// The beginning of the program in memory, a symbol of the linker's.
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

// The program's metadata, which the linker got by --package-metadata (the UAPI Group's "Package Metadata for Executable
// Files"): text that ends with a zero and lives as long as the process; NULL if the linker got none.
static inline const char *program_metadata(void) {
  const char *start = (const char *)&__ehdr_start;
  const ElfW(Phdr) *segments = (const ElfW(Phdr) *)(start + __ehdr_start.e_phoff);
  for (size_t index = 0; index < __ehdr_start.e_phnum; index++) {
    if (segments[index].p_type != PT_NOTE) continue;
    // A segment's address is relative to the program's beginning in memory.
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
