// The search for the smoothest good path through the lags of all frames
// (Viterbi).
#pragma once

#include <cstdint>
#include <vector>

namespace kdspeech {

// One state per lag. A step from state j to state i costs (i - j)^2 *
// step_cost, each frame adds its local costs.
class PitchSearch {
 public:
  PitchSearch(int num_states, float step_cost);

  int64_t NumFrames() const { return static_cast<int64_t>(best_states_.size()); }
  // The next frame; local_costs: one per state.
  void Step(const std::vector<float>& local_costs);
  // Back to frame 0, to give all frames again with other costs.
  void Restart();
  // Finds the cheapest path up to the last frame; State() then tells its state
  // at a frame.
  void TraceBack();
  int State(int64_t frame) const { return best_states_[frame]; }
  // How many of the last frames may still change when frames are added, at most
  // `max_latency`.
  int64_t Latency(int64_t max_latency) const;

 private:
  void FindPredecessors(int first_state, int last_state, int first_from, int last_from);

  int num_states_;
  float step_cost_;
  std::vector<float> costs_, new_costs_;
  std::vector<uint16_t> predecessors_;  // (frames, num_states)
  uint16_t* current_ = nullptr;         // the row that FindPredecessors fills
  std::vector<int> best_states_;        // -1 where not known
};

}  // namespace kdspeech
