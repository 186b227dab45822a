// A lattice in numpy arrays: what every part of the core takes from and gives to Python.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "decode/lattice_chain.h"
#include "python/pybind.h"

namespace kdspeech {

// Checks the arrays once, keeps them alive and read-only. Any array may be a view of a mapped file.
class PyLattice {
 public:
  template <class T>
  using Array = pybind11::array_t<T, pybind11::array::c_style>;

  // The last three are None for a state-level lattice.
  PyLattice(Array<int32_t> offsets, Array<LatticeArc> arcs, Array<LatticeCost> finals,
            const pybind11::object& final_strings, const pybind11::object& string_offsets,
            const pybind11::object& tids);
  explicit PyLattice(Lattice lattice);  // takes over its memory; needs the GIL

  const LatticeView& View() const { return view_; }
  // With its frames, which are counted once; to be called from any thread.
  std::shared_ptr<const TimedLattice> Timed() const;
  pybind11::object Offsets() const { return offsets_; }
  pybind11::object Arcs() const { return arcs_; }
  pybind11::object Finals() const { return finals_; }
  pybind11::object FinalStrings() const { return final_strings_; }
  pybind11::object StringOffsets() const { return string_offsets_; }
  pybind11::object Tids() const { return tids_; }

 private:
  void SetView();

  pybind11::object offsets_, arcs_, finals_, final_strings_, string_offsets_, tids_;
  LatticeView view_;
  mutable std::shared_ptr<const TimedLattice> timed_;
};

// A read-only array that owns the vector's memory.
template <class T>
pybind11::object ToArray(std::vector<T> values) {
  auto owner = std::make_unique<std::vector<T>>(std::move(values));
  std::vector<T>* data = owner.get();
  const pybind11::capsule free(owner.release(),
                               [](void* p) { delete static_cast<std::vector<T>*>(p); });
  pybind11::array_t<T> array(static_cast<pybind11::ssize_t>(data->size()), data->data(), free);
  array.attr("setflags")(pybind11::arg("write") = false);
  return std::move(array);
}

void PybindLatticePosterior(pybind11::module_& m);

}  // namespace kdspeech
