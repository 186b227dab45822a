// Energies of all windows of a clip, without computing each: exact where it matters.
#pragma once

#include <cstdint>
#include <vector>

#include "feat/kernel.h"

namespace kdspeech {

// The windows clip[k * hop .. k * hop + length) inside a clip, and their sums of squares. Windows
// are taken in groups: the energy of a group's first window is known, and no other window of the
// group holds more than that plus what enters, or less than that minus what leaves. Only groups
// whose bounds leave a question open are computed window by window. All answers are exact.
// Borrows the clip and the scratch.
class WindowEnergies {
 public:
  // Needs num_samples >= length.
  WindowEnergies(const Kernel& kernel, const int16_t* clip, int64_t num_samples, int64_t length,
                 int64_t hop, std::vector<int64_t>* scratch);

  int64_t NumWindows() const { return num_windows_; }

  // The window with the largest energy, the first of equals.
  struct Window {
    int64_t index;
    int64_t energy;
  };
  Window Best() const;

  // How many windows have at least that energy, and the n-th of them, from 0 on.
  int64_t Count(int64_t least) const;
  int64_t Find(int64_t least, int64_t n) const;

 private:
  static constexpr int64_t kMaxGroup = 64;

  int64_t GroupSize(int64_t group) const;
  int64_t CountIn(int64_t group, int64_t least) const;
  // Writes the energies of a group's windows, kMaxGroup at most; the largest of them.
  int64_t Expand(int64_t group, int64_t* energies) const;

  const int16_t* clip_;
  int64_t length_;
  int64_t hop_;
  int64_t num_windows_;
  int64_t group_;  // windows of a group, but for the last
  int64_t num_groups_;
  int64_t* first_;     // energy of each group's first window
  int64_t* entering_;  // sum of squares of what enters the window on the way to the next group
  int64_t* leaving_;
};

}  // namespace kdspeech
