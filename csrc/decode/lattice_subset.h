// Subsets of a lattice's states, which determinization makes states of.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kdspeech {

struct PathCost {
  double graph, acoustic;
};

// A state of the input and what is left over of the best path to it.
struct SubsetElement {
  int32_t state, string;
  PathCost cost;
};

// Sets of elements, each with a number; sets of the same states and strings whose costs differ by
// no more than kSubsetDelta are one.
class SubsetTable {
 public:
  explicit SubsetTable(double acoustic_scale) : scale_(acoustic_scale) { slots_.resize(64, -1); }

  // The number of the set, or -1.
  int32_t Find(const std::vector<SubsetElement>& subset) const {
    for (size_t slot = Hash(subset.data(), subset.size());; ++slot) {
      const int32_t found = slots_[slot & (slots_.size() - 1)];
      if (found < 0 || Equal(found, subset)) return found;
    }
  }
  // Adds a set that is not there.
  int32_t Add(const std::vector<SubsetElement>& subset) {
    elements_.insert(elements_.end(), subset.begin(), subset.end());
    ends_.push_back(elements_.size());
    const auto number = static_cast<int32_t>(ends_.size()) - 1;
    if (2 * ends_.size() > slots_.size())
      Rehash(2 * slots_.size());
    else
      Insert(number);
    return number;
  }
  const SubsetElement* Begin(int32_t number) const {
    return elements_.data() + (number ? ends_[number - 1] : 0);
  }
  const SubsetElement* End(int32_t number) const { return elements_.data() + ends_[number]; }
  std::vector<SubsetElement>& Elements() { return elements_; }
  int64_t Bytes() const { return elements_.size() * sizeof(SubsetElement); }
  void Rehash() { Rehash(slots_.size()); }  // after the strings got new numbers

 private:
  static size_t Hash(const SubsetElement* elements, size_t size) {
    uint64_t hash = size;
    for (size_t i = 0; i < size; ++i) {
      const uint64_t key = (static_cast<uint64_t>(elements[i].state) << 32) |
                           static_cast<uint32_t>(elements[i].string);
      hash = (hash ^ key) * 0x9E3779B97F4A7C15u;
      hash ^= hash >> 32;
    }
    return hash;
  }
  bool Equal(int32_t number, const std::vector<SubsetElement>& subset) const {
    const SubsetElement* mine = Begin(number);
    if (End(number) - mine != static_cast<int64_t>(subset.size())) return false;
    for (const SubsetElement& other : subset) {
      if (mine->state != other.state || mine->string != other.string) return false;
      const double difference = mine->cost.graph - other.cost.graph +
                                scale_ * (mine->cost.acoustic - other.cost.acoustic);
      if (std::abs(difference) > kSubsetDelta) return false;
      ++mine;
    }
    return true;
  }
  void Insert(int32_t number) {
    size_t slot = Hash(Begin(number), End(number) - Begin(number));
    while (slots_[slot & (slots_.size() - 1)] >= 0) ++slot;
    slots_[slot & (slots_.size() - 1)] = number;
  }
  void Rehash(size_t num_slots) {
    slots_.assign(num_slots, -1);
    for (size_t i = 0; i < ends_.size(); ++i) Insert(static_cast<int32_t>(i));
  }

  double scale_;
  std::vector<SubsetElement> elements_;
  std::vector<size_t> ends_;
  std::vector<int32_t> slots_;
};

}  // namespace kdspeech
