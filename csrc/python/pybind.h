// Declarations shared by the binding files.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace kdspeech {

void PybindFeat(pybind11::module_& m);
void PybindPost(pybind11::module_& m);
void PybindCrop(pybind11::module_& m);
void PybindLattice(pybind11::module_& m);
void PybindSearch(pybind11::module_& m);
void PybindTransform(pybind11::module_& m);
void PybindFst(pybind11::module_& m);

}  // namespace kdspeech
