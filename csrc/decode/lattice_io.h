// Lattices in Kaldi's archives: its Lattice and CompactLattice, text and binary (OpenFst's
// VectorFst with arc types "lattice4" and "compactlattice44").
#pragma once

#include <cstddef>
#include <string>

#include "decode/lattice.h"

namespace kdspeech {

struct ArchiveEntry {
  std::string key;
  Lattice lattice;  // trimmed and sorted topologically
  size_t size = 0;  // bytes of the entry
};

// Reads the entry that `data` begins with. Returns false if `size` bytes do not hold all of it;
// throws InputError if they are no lattice. An entry without a key (nothing but space until the
// end) is the archive's end.
bool ReadArchiveEntry(const char* data, size_t size, ArchiveEntry* entry);

// The entry of `lattice` in an archive, in text or binary.
std::string ArchiveEntryText(const std::string& key, const LatticeView& lattice);
std::string ArchiveEntryBinary(const std::string& key, const LatticeView& lattice);

}  // namespace kdspeech
