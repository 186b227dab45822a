// Reads OpenFst's binary files (const and vector, arcs "standard"), as Kaldi's HCLG.fst.
#pragma once

#include <cstddef>

#include "decode/graph.h"

namespace kdspeech {

// The graph in `size` bytes of such a file. Throws InputError where they are damaged, or hold
// another type.
Graph ReadOpenFst(const char* data, size_t size);

}  // namespace kdspeech
