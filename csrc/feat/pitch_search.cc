#include "feat/pitch_search.h"

#include <algorithm>

namespace kdspeech {

PitchSearch::PitchSearch(int num_states, float step_cost)
    : num_states_(num_states), step_cost_(step_cost), costs_(num_states), new_costs_(num_states) {}

// The costs are convex in the step, so the best predecessor does not fall as
// the state rises: find that of the middle state, then those below and above
// within the bound this sets.
void PitchSearch::FindPredecessors(int first_state, int last_state, int first_from, int last_from) {
  if (first_state > last_state) return;
  const int state = first_state + (last_state - first_state) / 2;
  int best = first_from;
  float best_cost = 0.0f;
  for (int from = first_from; from <= last_from; ++from) {
    const int step = from - state;
    const float cost = static_cast<float>(step * step) * step_cost_ + costs_[from];
    if (from == first_from || cost < best_cost) {
      best = from;
      best_cost = cost;
    }
  }
  current_[state] = static_cast<uint16_t>(best);
  new_costs_[state] = best_cost;
  FindPredecessors(first_state, state - 1, first_from, best);
  FindPredecessors(state + 1, last_state, best, last_from);
}

void PitchSearch::Step(const std::vector<float>& local_costs) {
  predecessors_.resize(predecessors_.size() + num_states_);
  current_ = predecessors_.data() + predecessors_.size() - num_states_;
  FindPredecessors(0, num_states_ - 1, 0, num_states_ - 1);
  for (int state = 0; state < num_states_; ++state) new_costs_[state] += local_costs[state];
  // The lowest cost is kept at zero, for the precision of float.
  const float lowest = *std::min_element(new_costs_.begin(), new_costs_.end());
  for (float& cost : new_costs_) cost -= lowest;
  costs_.swap(new_costs_);
  best_states_.push_back(-1);
}

void PitchSearch::Restart() {
  std::fill(costs_.begin(), costs_.end(), 0.0f);
  predecessors_.clear();
  best_states_.clear();
}

void PitchSearch::TraceBack() {
  int state = static_cast<int>(std::min_element(costs_.begin(), costs_.end()) - costs_.begin());
  for (int64_t frame = NumFrames() - 1; frame >= 0; --frame) {
    if (best_states_[frame] == state) break;  // joins the path found before
    best_states_[frame] = state;
    state = predecessors_[frame * num_states_ + state];
  }
}

int64_t PitchSearch::Latency(int64_t max_latency) const {
  const int64_t frames = NumFrames();
  int lowest = 0, highest = num_states_ - 1;
  for (int64_t latency = 0; latency < std::min(max_latency, frames); ++latency) {
    const uint16_t* row = predecessors_.data() + (frames - 1 - latency) * num_states_;
    lowest = row[lowest];
    highest = row[highest];
    if (lowest == highest) return latency;
  }
  return std::max<int64_t>(0, std::min(max_latency, frames));
}

}  // namespace kdspeech
