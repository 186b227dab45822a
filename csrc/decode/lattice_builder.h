// Makes a lattice out of states and arcs that come in any order.
#pragma once

#include <cstdint>
#include <vector>

#include "decode/lattice.h"

namespace kdspeech {

class LatticeBuilder {
 public:
  explicit LatticeBuilder(bool compact) : compact_(compact) {}
  // Begins with the strings of `lattice`, so that its string numbers can be used.
  explicit LatticeBuilder(const LatticeView& lattice);

  int32_t NumStates() const { return static_cast<int32_t>(finals_.size()); }
  // Makes the states up to `num_states` exist.
  void AddStates(int32_t num_states);
  int32_t AddState();
  void AddArc(int32_t state, const LatticeArc& arc);  // between states that exist
  void SetFinal(int32_t state, const LatticeCost& cost, int32_t string = 0);
  int32_t AddString(const int32_t* begin, const int32_t* end);  // returns its number

  // The states on paths from `start` to a final state, sorted topologically: in the order they
  // have if it is one. Throws InputError if the arcs make a cycle.
  Lattice Build(int32_t start = 0);

 private:
  void SortArcsByState();
  bool IsSorted(int32_t start) const;
  std::vector<int32_t> Order(int32_t start) const;
  std::vector<int32_t> Number(const std::vector<int32_t>& order) const;
  void CopyState(int32_t state, const std::vector<int32_t>& numbers, Lattice* lattice);
  int32_t CopyString(int32_t string, Lattice* lattice);

  bool compact_;
  std::vector<int32_t> from_;  // the state each arc leaves, until they are sorted by it
  std::vector<LatticeArc> arcs_;
  std::vector<int32_t> offsets_;
  std::vector<LatticeCost> finals_;
  std::vector<int32_t> final_strings_;
  std::vector<int32_t> string_offsets_{0, 0}, tids_;
  std::vector<int32_t> string_numbers_;  // in the lattice that is built, -1: not yet there
};

}  // namespace kdspeech
