// Transducers as arrays, the form of kdspeech.io.fst.
#pragma once

#include <cstdint>
#include <vector>

namespace kdspeech {

struct FstArc {
  int32_t ilabel, olabel;  // 0 is epsilon
  float cost;              // negative natural logarithm
  int32_t next;
};

// State s has the arcs offsets[s] up to offsets[s + 1]; it is final where finals[s] is finite.
struct Fst {
  int64_t start = -1;
  std::vector<float> finals;
  std::vector<int64_t> offsets{0};
  std::vector<FstArc> arcs;
};

}  // namespace kdspeech
