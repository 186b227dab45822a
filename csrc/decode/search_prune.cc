// The backward part of the search: what cannot be part of a good path any more is removed.
#include <algorithm>
#include <cmath>

#include "decode/search.h"

namespace kdspeech {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int32_t kRemoved = -1;  // source of an edge that is to go

}  // namespace

// How much worse than the best path the best path through this edge is.
inline float Search::ExtraOf(const Edge& edge) const {
  const float slack = edge.arrival - costs_[edge.target];
  return std::max(0.0f, extras_[edge.target] + slack);
}

// Prunes all frames but the newest, back to where no token's extra changes by more than `delta`.
void Search::Prune(float delta) {
  int64_t frame = NumFrames();
  if (frame == 0) return;
  while (frame > 0) {
    const float change = PruneFrame(--frame);
    if (change <= delta && frame < pruned_frames_) break;
  }
  Compact(frame);
  pruned_frames_ = NumFrames();
}

void Search::Finish() {
  if (!Alive()) return;
  SetFinalExtras();
  PruneEpsilons(NumFrames());
  for (int64_t frame = NumFrames() - 1; frame >= 0; --frame) PruneFrame(frame);
  Compact(0);
}

void Search::SetFinalExtras() {
  const int64_t first = frames_.back().tokens;
  std::vector<float> totals = FinalCosts(true);
  for (size_t i = 0; i < totals.size(); ++i) totals[i] += costs_[first + i];
  const float best = *std::min_element(totals.begin(), totals.end());
  for (size_t i = 0; i < totals.size(); ++i) {
    const float extra = totals[i] - best;
    extras_[first + i] = extra <= options_.lattice_beam ? extra : kInfinity;
  }
}

// Computes the extras of the frame's tokens anew from the next frame's. Returns the largest change.
float Search::PruneFrame(int64_t frame) {
  const int64_t begin = frames_[frame].tokens, end = TokensEnd(frame);
  old_extras_.assign(extras_.data() + begin, extras_.data() + end);
  std::fill(extras_.data() + begin, extras_.data() + end, kInfinity);
  const int64_t last_edge = EmittingEnd(frame);
  for (int64_t i = frames_[frame].emitting; i < last_edge; ++i) {
    Edge& edge = edges_[i];
    const float extra = ExtraOf(edge);
    if (extra <= options_.lattice_beam) {
      extras_[edge.source] = std::min(extras_[edge.source], extra);
    } else {
      edge.source = kRemoved;
    }
  }
  PruneEpsilons(frame);
  float change = 0.0f;
  for (int64_t i = begin; i < end; ++i) {
    change = std::max(change, std::fabs(extras_[i] - old_extras_[i - begin]));
  }
  return change;
}

// Lowers extras along the frame's epsilon edges until nothing changes.
void Search::PruneEpsilons(int64_t frame) {
  const int64_t begin = frames_[frame].epsilons, end = frames_[frame].emitting;
  for (bool changed = true; changed;) {
    changed = false;
    for (int64_t i = end - 1; i >= begin; --i) {
      const float extra = ExtraOf(edges_[i]);
      if (extra > options_.lattice_beam || extra >= extras_[edges_[i].source]) continue;
      extras_[edges_[i].source] = extra;
      changed = true;
    }
  }
  for (int64_t i = begin; i < end; ++i) {
    if (!(ExtraOf(edges_[i]) <= options_.lattice_beam)) edges_[i].source = kRemoved;
  }
}

// Closes the gaps that pruning left from `first_frame` on.
void Search::Compact(int64_t first_frame) {
  std::vector<int32_t> new_tokens;
  CompactTokens(first_frame, &new_tokens);
  CompactEdges(first_frame, new_tokens);
}

// Fills `new_tokens` with the places of the tokens from the frame's first token on.
void Search::CompactTokens(int64_t first_frame, std::vector<int32_t>* new_tokens) {
  const int64_t first = frames_[first_frame].tokens;
  const int64_t first_of_last = frames_.back().tokens;
  new_tokens->assign(costs_.size() - first, kRemoved);
  size_t num_states = 0;
  int64_t to = first;
  for (int64_t frame = first_frame; frame <= NumFrames(); ++frame) {
    const int64_t begin = frames_[frame].tokens, end = TokensEnd(frame);
    frames_[frame].tokens = static_cast<int32_t>(to);
    for (int64_t i = begin; i < end; ++i) {
      if (extras_[i] == kInfinity) continue;
      (*new_tokens)[i - first] = static_cast<int32_t>(to);
      costs_[to] = costs_[i];
      extras_[to++] = extras_[i];
      if (frame == NumFrames()) states_[num_states++] = states_[i - first_of_last];
    }
  }
  costs_.Resize(to);
  extras_.Resize(to);
  states_.resize(num_states);
}

void Search::CompactEdges(int64_t first_frame, const std::vector<int32_t>& new_tokens) {
  const int64_t first = frames_[first_frame].tokens;  // the same before and after
  int64_t from = frames_[first_frame].epsilons, to = from;
  const auto move_until = [&](int64_t end) {
    for (; from < end; ++from) {
      const Edge edge = edges_[from];
      if (edge.source == kRemoved) continue;
      edges_[to++] = {new_tokens[edge.source - first], new_tokens[edge.target - first], edge.arc,
                      edge.arrival, edge.acoustic_cost};
    }
  };
  for (int64_t frame = first_frame; frame <= NumFrames(); ++frame) {
    const int64_t epsilons_end = frames_[frame].emitting, emitting_end = EmittingEnd(frame);
    frames_[frame].epsilons = static_cast<int32_t>(to);
    move_until(epsilons_end);
    frames_[frame].emitting = static_cast<int32_t>(to);
    move_until(emitting_end);
  }
  edges_.Resize(to);
}

}  // namespace kdspeech
