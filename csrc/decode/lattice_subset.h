// Subsets of a lattice's states, which determinization makes states of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kdspeech {

struct PathCost {
  double graph, acoustic;
};

// A state of the lattice, and what is left over of the best path to it: a string (of a StringTrie)
// and a cost.
struct SubsetElement {
  int32_t state, string;
  PathCost cost;
};

using Subset = std::vector<SubsetElement>;

// Subsets, each with a number. Those of the same states and strings whose costs differ by hardly
// anything are one.
class SubsetTable {
 public:
  explicit SubsetTable(double acoustic_scale);

  int32_t Find(const Subset& subset) const;  // its number, or -1
  int32_t Add(const Subset& subset);         // one that is not there; returns its number
  const SubsetElement* Begin(int32_t number) const {
    return elements_.data() + (number ? ends_[number - 1] : 0);
  }
  const SubsetElement* End(int32_t number) const { return elements_.data() + ends_[number]; }

  int64_t Bytes() const { return elements_.size() * sizeof(SubsetElement); }
  Subset& Elements() { return elements_; }  // of all subsets
  void Rehash();                            // when their strings got other numbers

 private:
  static size_t Hash(const SubsetElement* elements, size_t size);
  bool Equal(int32_t number, const Subset& subset) const;
  void Insert(int32_t number);

  double scale_;
  Subset elements_;
  std::vector<size_t> ends_;
  std::vector<int32_t> slots_;  // an open hash table of numbers, -1: free
};

}  // namespace kdspeech
