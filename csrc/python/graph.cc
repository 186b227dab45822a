// What making graphs needs besides kaldifst.
#include "graph/remove_epsilons.h"
#include "python/pybind.h"

namespace py = pybind11;

namespace kdspeech {

namespace {

template <class T>
std::vector<T> VectorOf(const py::array_t<T, py::array::c_style>& array) {
  return std::vector<T>(array.data(), array.data() + array.size());
}

template <class T>
py::array_t<T> ArrayOf(const std::vector<T>& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

py::tuple PyRemoveEpsilons(int64_t start, const py::array_t<float, py::array::c_style>& finals,
                           const py::array_t<int64_t, py::array::c_style>& offsets,
                           const py::array_t<FstArc, py::array::c_style>& arcs) {
  Fst fst{start, VectorOf(finals), VectorOf(offsets), VectorOf(arcs)};
  {
    py::gil_scoped_release release;
    fst = RemoveEpsilonsLocally(std::move(fst));
  }
  return py::make_tuple(fst.start, ArrayOf(fst.finals), ArrayOf(fst.offsets), ArrayOf(fst.arcs));
}

}  // namespace

void PybindFst(py::module_& m) {
  PYBIND11_NUMPY_DTYPE(FstArc, ilabel, olabel, cost, next);
  py::module_ graph = m.def_submodule("graph", "Operations on transducers");
  graph.def("remove_epsilons", &PyRemoveEpsilons, py::arg("start"), py::arg("finals"),
            py::arg("offsets"), py::arg("arcs"));
}

}  // namespace kdspeech
