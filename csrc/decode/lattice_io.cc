#include "decode/lattice_io.h"

#include "decode/lattice_format.h"
#include "feat/error.h"

namespace kdspeech {

namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string ReadKey(const char** at, const char* end) {
  while (*at < end && IsSpace(**at)) ++*at;
  const char* begin = *at;
  while (*at < end && !IsSpace(**at)) ++*at;
  if (begin < end && *at == end) throw Truncated();
  return std::string(begin, *at);
}

// The rest of the line after a key of a text archive.
void SkipEmptyLine(const char** at, const char* end) {
  for (; *at < end && **at != '\n'; ++*at) {
    if (!IsSpace(**at)) throw InputError("not a Kaldi lattice");
  }
  if (*at == end) throw Truncated();
  ++*at;
}

Lattice ReadLattice(const char** at, const char* end) {
  if (**at == ' ') ++*at;
  if (end - *at < 2) throw Truncated();
  if (**at == '\0') {
    if ((*at)[1] != 'B') throw InputError("not a Kaldi lattice");
    *at += 2;
    return ReadBinaryLattice(at, end);
  }
  SkipEmptyLine(at, end);
  return ReadTextLattice(at, end);
}

}  // namespace

bool ReadArchiveEntry(const char* data, size_t size, ArchiveEntry* entry) {
  const char* at = data;
  try {
    entry->key = ReadKey(&at, data + size);
    if (!entry->key.empty()) entry->lattice = ReadLattice(&at, data + size);
  } catch (const Truncated&) {
    return false;
  }
  entry->size = at - data;
  return true;
}

std::string ArchiveEntryText(const std::string& key, const LatticeView& lattice) {
  return key + " \n" + TextLattice(lattice);
}

std::string ArchiveEntryBinary(const std::string& key, const LatticeView& lattice) {
  return key + ' ' + '\0' + 'B' + BinaryLattice(lattice);
}

}  // namespace kdspeech
