# Packages of a suite of Debian that need not be this machine's: nothing is installed. To be sourced.

# Prints from where this machine has the packages of its own Debian; fails with a message if it has none.
debian_mirror() {
  local codename mirror
  codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' "Codename: $codename" \
    2> /dev/null | sort -u | head -n 1) || true
  if [ -z "$mirror" ]; then
    echo "apt knows no place that has Debian; run apt-get update" >&2
    return 1
  fi
  echo "$mirror"
}

# SUITE FOLDER MIRROR: sets apt to the options with which apt-get and apt-cache know that suite alone, and keep what they
# need in the folder. To be followed by an update.
use_suite() {
  local suite=$1 folder=$2 mirror=$3 keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  mkdir -p "$folder"/{lists,archives}/partial
  if [ -e "$keyring" ]; then keyring="[signed-by=$keyring]"; else keyring=; fi
  echo "deb $keyring $mirror $suite main" > "$folder/sources.list"
  apt=(-qq -o Dir::Etc::SourceList="$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::State::Lists="$folder/lists" -o Dir::Cache::Archives="$folder/archives" -o Dir::Cache::pkgcache=
    -o Dir::Cache::srcpkgcache= -o Acquire::Languages=none -o Acquire::http::Timeout=20 -o APT::Sandbox::User=
    -o APT::Update::Error-Mode=any)
}
