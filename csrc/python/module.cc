// The Python module kdspeech._core: one PybindX per group of functions.
#include "python/pybind.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "C++ core of kdspeech: features and crops";
  kdspeech::PybindFeat(m);
  kdspeech::PybindPost(m);
  kdspeech::PybindCrop(m);
  kdspeech::PybindLattice(m);
  kdspeech::PybindSearch(m);
  kdspeech::PybindTransform(m);
  kdspeech::PybindFst(m);
}
