// What comes out of the search: the best path and the state-level lattice.
#include <algorithm>
#include <stdexcept>

#include "decode/search.h"

namespace kdspeech {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

bool Search::ReachedFinal() const {
  return std::any_of(states_.begin(), states_.end(),
                     [&](int32_t state) { return graph_.Final(state) != kInfinity; });
}

// Final costs of the newest frame's tokens: the graph's, or 0 where none or no final state counts.
std::vector<float> Search::FinalCosts(bool use_final) const {
  std::vector<float> costs(states_.size(), 0.0f);
  if (!use_final || !ReachedFinal()) return costs;
  for (size_t i = 0; i < states_.size(); ++i) costs[i] = graph_.Final(states_[i]);
  return costs;
}

// The best edge into token `target` among edges_[begin .. end), null where the best is elsewhere.
const Search::Edge* Search::BestEdge(int64_t begin, int64_t end, int32_t target) const {
  for (int64_t i = begin; i < end; ++i) {
    const Edge& edge = edges_[i];
    if (edge.target == target && edge.arrival == costs_[target]) return &edge;
  }
  return nullptr;
}

// The best edge into token `target` of *frame, which becomes the frame where the edge begins. Null
// for the first token of all.
const Search::Edge* Search::BestEdge(int32_t target, int64_t* frame) const {
  const Frame& here = frames_[*frame];
  if (const Edge* edge = BestEdge(here.epsilons, here.emitting, target)) return edge;
  if (--*frame < 0) return nullptr;
  const Edge* edge = BestEdge(frames_[*frame].emitting, EmittingEnd(*frame), target);
  if (!edge) throw std::logic_error("search: a token without origin");
  return edge;
}

BestPath Search::Best(bool use_final) const {
  BestPath path;
  if (!Alive()) return path;
  const std::vector<float> finals = FinalCosts(use_final);
  const float* costs = costs_.data() + frames_.back().tokens;
  size_t best = 0;
  for (size_t i = 1; i < finals.size(); ++i) {
    if (costs[i] + finals[i] < costs[best] + finals[best]) best = i;
  }
  path.graph_cost = finals[best];
  path.reached_final = graph_.Final(states_[best]) != kInfinity;
  int64_t frame = NumFrames();
  int32_t token = frames_.back().tokens + static_cast<int32_t>(best);
  while (const Edge* edge = BestEdge(token, &frame)) {
    const GraphArc& arc = graph_.Arcs()[edge->arc];
    if (arc.tid) path.tids.push_back(arc.tid);
    if (arc.word) path.words.push_back(arc.word);
    path.graph_cost += arc.cost;
    path.acoustic_cost += edge->acoustic_cost;
    token = edge->source;
  }
  std::reverse(path.tids.begin(), path.tids.end());
  std::reverse(path.words.begin(), path.words.end());
  return path;
}

// A number for each token, such that edges climb: by frame, and within it by the length of the
// longest way by epsilon edges.
std::vector<int32_t> Search::TopologicalRanks() const {
  std::vector<int32_t> ranks(costs_.size()), lengths(costs_.size(), 0);
  int32_t rank = 0;
  for (int64_t frame = 0; frame <= NumFrames(); ++frame) {
    int32_t longest = 0;
    for (bool changed = true; changed;) {
      changed = false;
      for (int64_t i = frames_[frame].epsilons; i < frames_[frame].emitting; ++i) {
        const int32_t length = lengths[edges_[i].source] + 1;
        if (length <= lengths[edges_[i].target]) continue;
        lengths[edges_[i].target] = length;
        longest = std::max(longest, length);
        changed = true;
      }
    }
    for (int32_t length = 0; length <= longest; ++length) {
      for (int64_t i = frames_[frame].tokens; i < TokensEnd(frame); ++i) {
        if (lengths[i] == length) ranks[i] = rank++;
      }
    }
  }
  return ranks;
}

Lattice Search::RawLattice() const {
  Lattice lattice;
  if (!Alive()) return lattice;
  const std::vector<int32_t> ranks = TopologicalRanks();
  lattice.finals.resize(ranks.size());
  lattice.offsets.assign(ranks.size() + 2, 0);
  lattice.arcs.resize(edges_.size());
  // Counted two places ahead, so that what fills the arcs leaves the offsets where they belong.
  for (int64_t i = 0; i < edges_.size(); ++i) ++lattice.offsets[ranks[edges_[i].source] + 2];
  for (size_t i = 2; i < lattice.offsets.size(); ++i) lattice.offsets[i] += lattice.offsets[i - 1];
  for (int64_t i = 0; i < edges_.size(); ++i) {
    const Edge& edge = edges_[i];
    const GraphArc& arc = graph_.Arcs()[edge.arc];
    lattice.arcs[lattice.offsets[ranks[edge.source] + 1]++] = {
        arc.tid, arc.word, ranks[edge.target], arc.cost, edge.acoustic_cost};
  }
  lattice.offsets.pop_back();
  const std::vector<float> finals = FinalCosts(true);
  for (size_t i = 0; i < finals.size(); ++i) {
    if (finals[i] == kInfinity) continue;
    lattice.finals[ranks[frames_.back().tokens + i]] = {finals[i], 0.0f};
  }
  return lattice;
}

}  // namespace kdspeech
