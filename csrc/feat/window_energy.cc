#include "feat/window_energy.h"

#include <algorithm>

namespace kdspeech {

WindowEnergies::WindowEnergies(const Kernel& kernel, const int16_t* clip, int64_t num_samples,
                               int64_t length, int64_t hop, std::vector<int64_t>* scratch)
    : clip_(clip), length_(length), hop_(hop) {
  const int64_t moves = (num_samples - length) / hop;
  num_windows_ = moves + 1;
  group_ = std::max<int64_t>(1, kMaxGroup / hop);
  const int64_t full = moves / group_, rest = moves % group_;
  num_groups_ = full + 1;
  scratch->resize(3 * num_groups_);
  first_ = scratch->data();
  entering_ = first_ + num_groups_;
  leaving_ = entering_ + num_groups_;
  const int64_t size = group_ * hop;
  kernel.square_sums(clip, length, 1, first_);
  kernel.square_sums(clip, size, full, leaving_);
  kernel.square_sums(clip + length, size, full, entering_);
  kernel.square_sums(clip + full * size, rest * hop, 1, leaving_ + full);
  kernel.square_sums(clip + length + full * size, rest * hop, 1, entering_ + full);
  for (int64_t g = 0; g < full; ++g) first_[g + 1] = first_[g] + entering_[g] - leaving_[g];
}

int64_t WindowEnergies::GroupSize(int64_t group) const {
  return std::min(group_, num_windows_ - group * group_);
}

int64_t WindowEnergies::Expand(int64_t group, int64_t* energies) const {
  const int64_t size = GroupSize(group), hop = hop_;
  const int16_t* leaving = clip_ + group * group_ * hop;
  const int16_t* entering = leaving + length_;
  int32_t changes[kMaxGroup];  // sample by sample; of a group of one window there are none
  for (int64_t i = 0; i < (size - 1) * hop; ++i) {
    changes[i] = entering[i] * entering[i] - leaving[i] * leaving[i];
  }
  const int32_t* change = changes;
  int64_t energy = energies[0] = first_[group];
  for (int64_t k = 1; k < size; ++k) {
    for (int64_t i = 0; i < hop; ++i) energy += *change++;
    energies[k] = energy;
  }
  // A loop of its own has no branch on the energies, which are hard to foretell.
  int64_t largest = energies[0];
  for (int64_t k = 1; k < size; ++k) largest = std::max(largest, energies[k]);
  return largest;
}

WindowEnergies::Window WindowEnergies::Best() const {
  Window best = {-1, *std::max_element(first_, first_ + num_groups_)};
  int64_t energies[kMaxGroup];
  for (int64_t g = 0; g < num_groups_; ++g) {
    const int64_t most = first_[g] + entering_[g];
    if (most < best.energy || (most == best.energy && best.index >= 0)) continue;
    const int64_t largest = Expand(g, energies);
    if (largest > best.energy || (largest == best.energy && best.index < 0)) {
      best = {g * group_ + (std::find(energies, energies + group_, largest) - energies), largest};
    }
  }
  return best;
}

int64_t WindowEnergies::CountIn(int64_t group, int64_t least) const {
  if (first_[group] + entering_[group] < least) return 0;
  if (first_[group] - leaving_[group] >= least) return GroupSize(group);
  int64_t energies[kMaxGroup];
  Expand(group, energies);
  return std::count_if(energies, energies + GroupSize(group),
                       [least](int64_t energy) { return energy >= least; });
}

int64_t WindowEnergies::Count(int64_t least) const {
  int64_t count = 0;
  for (int64_t g = 0; g < num_groups_; ++g) count += CountIn(g, least);
  return count;
}

int64_t WindowEnergies::Find(int64_t least, int64_t n) const {
  int64_t group = 0;
  for (int64_t count = CountIn(0, least); count <= n; count = CountIn(++group, least)) n -= count;
  int64_t energies[kMaxGroup];
  Expand(group, energies);
  int64_t k = 0;
  while (energies[k] < least || n-- > 0) ++k;
  return group * group_ + k;
}

}  // namespace kdspeech
