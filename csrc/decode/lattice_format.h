// The two formats of a lattice in an archive, without what is around it.
#pragma once

#include <string>

#include "decode/lattice.h"

namespace kdspeech {

struct Truncated {};  // thrown where the data end before the lattice does

// Read what begins at *at, and set it to the end of it.
Lattice ReadTextLattice(const char** at, const char* end);
Lattice ReadBinaryLattice(const char** at, const char* end);

std::string TextLattice(const LatticeView& lattice);
std::string BinaryLattice(const LatticeView& lattice);

}  // namespace kdspeech
