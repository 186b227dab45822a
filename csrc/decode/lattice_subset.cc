#include "decode/lattice_subset.h"

#include <cmath>

namespace kdspeech {

namespace {

constexpr double kDelta = 1.0 / 1024;  // Kaldi's: costs that differ by less are the same
constexpr size_t kFirstSlots = 64;     // a power of two, as all sizes of the table

}  // namespace

SubsetTable::SubsetTable(double acoustic_scale) : scale_(acoustic_scale), slots_(kFirstSlots, -1) {}

int32_t SubsetTable::Find(const Subset& subset) const {
  for (size_t slot = Hash(subset.data(), subset.size());; ++slot) {
    const int32_t found = slots_[slot & (slots_.size() - 1)];
    if (found < 0 || Equal(found, subset)) return found;
  }
}

int32_t SubsetTable::Add(const Subset& subset) {
  elements_.insert(elements_.end(), subset.begin(), subset.end());
  ends_.push_back(elements_.size());
  const auto number = static_cast<int32_t>(ends_.size()) - 1;
  if (2 * ends_.size() > slots_.size()) {
    slots_.resize(2 * slots_.size());
    Rehash();
  } else {
    Insert(number);
  }
  return number;
}

void SubsetTable::Rehash() {
  slots_.assign(slots_.size(), -1);
  for (size_t i = 0; i < ends_.size(); ++i) Insert(static_cast<int32_t>(i));
}

size_t SubsetTable::Hash(const SubsetElement* elements, size_t size) {
  uint64_t hash = size;
  for (size_t i = 0; i < size; ++i) {
    const auto state = static_cast<uint64_t>(elements[i].state);
    hash = (hash ^ (state << 32 | static_cast<uint32_t>(elements[i].string))) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
  }
  return hash;
}

bool SubsetTable::Equal(int32_t number, const Subset& subset) const {
  const SubsetElement* mine = Begin(number);
  if (End(number) - mine != static_cast<int64_t>(subset.size())) return false;
  for (const SubsetElement& other : subset) {
    if (mine->state != other.state || mine->string != other.string) return false;
    const double difference =
        mine->cost.graph - other.cost.graph + scale_ * (mine->cost.acoustic - other.cost.acoustic);
    if (std::abs(difference) > kDelta) return false;
    ++mine;
  }
  return true;
}

void SubsetTable::Insert(int32_t number) {
  size_t slot = Hash(Begin(number), End(number) - Begin(number));
  while (slots_[slot & (slots_.size() - 1)] >= 0) ++slot;
  slots_[slot & (slots_.size() - 1)] = number;
}

}  // namespace kdspeech
