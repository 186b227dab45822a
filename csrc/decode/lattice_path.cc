#include "decode/lattice_path.h"

#include <algorithm>
#include <queue>

#include "decode/lattice_builder.h"

namespace kdspeech {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A* over the lattice: with exact costs to the end as estimate, paths leave the queue in order.
class PathSearch {
 public:
  PathSearch(const LatticeView& lattice, const LatticeScales& scales)
      : lattice_(lattice), scales_(scales), backward_(BackwardCosts(lattice, scales)) {}

  std::vector<LatticePath> Run(int32_t n) {
    std::vector<LatticePath> paths;
    if (lattice_.num_states == 0) return paths;
    std::vector<int32_t> visits(lattice_.num_states, 0);
    Push({0.0, 0, -1, nullptr}, backward_[0]);
    while (!queue_.empty() && static_cast<int32_t>(paths.size()) < n) {
      const int32_t node = queue_.top().node;
      queue_.pop();
      if (nodes_[node].state < 0) {
        paths.push_back(Trace(node));
      } else if (visits[nodes_[node].state]++ < n) {
        Expand(node);
      }
    }
    return paths;
  }

 private:
  struct Node {
    double cost;    // from the start
    int32_t state;  // -1: the path is complete
    int32_t parent;
    const LatticeArc* arc;  // from the parent
  };
  struct Entry {
    double total;
    int32_t node;
    bool operator<(const Entry& other) const {
      return total != other.total ? total > other.total : node > other.node;
    }
  };

  void Push(const Node& node, double rest) {
    if (rest == kInfinity) return;
    queue_.push({node.cost + rest, static_cast<int32_t>(nodes_.size())});
    nodes_.push_back(node);
  }

  void Expand(int32_t index) {
    const Node node = nodes_[index];
    for (const LatticeArc* arc = lattice_.Begin(node.state); arc < lattice_.End(node.state);
         ++arc) {
      Push({node.cost + scales_.Cost(*arc), arc->nextstate, index, arc}, backward_[arc->nextstate]);
    }
    const double final_cost = scales_.Cost(lattice_.finals[node.state]);
    if (final_cost < kInfinity) Push({node.cost + final_cost, -1, index, nullptr}, 0.0);
  }

  LatticePath Trace(int32_t node) const {
    const int32_t last = nodes_[nodes_[node].parent].state;
    std::vector<const LatticeArc*> arcs;
    for (node = nodes_[node].parent; nodes_[node].arc; node = nodes_[node].parent) {
      arcs.push_back(nodes_[node].arc);
    }
    LatticePath path;
    for (auto arc = arcs.rbegin(); arc != arcs.rend(); ++arc) AppendArc(**arc, &path);
    const LatticeCost& cost = lattice_.finals[last];
    path.graph_cost += cost.graph_cost;
    path.acoustic_cost += cost.acoustic_cost;
    if (lattice_.IsCompact()) AppendString(lattice_.final_strings[last], &path.tids);
    return path;
  }

  void AppendArc(const LatticeArc& arc, LatticePath* path) const {
    const auto begin = static_cast<int32_t>(path->tids.size());
    if (lattice_.IsCompact()) {
      AppendString(arc.ilabel, &path->tids);
    } else if (arc.ilabel) {
      path->tids.push_back(arc.ilabel);
    }
    path->graph_cost += arc.graph_cost;
    path->acoustic_cost += arc.acoustic_cost;
    if (arc.olabel == 0) return;
    path->words.push_back(arc.olabel);
    path->begins.push_back(begin);
    path->ends.push_back(static_cast<int32_t>(path->tids.size()));
  }

  void AppendString(int32_t string, std::vector<int32_t>* tids) const {
    tids->insert(tids->end(), lattice_.tids + lattice_.string_offsets[string],
                 lattice_.tids + lattice_.string_offsets[string + 1]);
  }

  const LatticeView lattice_;
  const LatticeScales scales_;
  const std::vector<double> backward_;
  std::vector<Node> nodes_;
  std::priority_queue<Entry> queue_;
};

// Adds a chain of new states from `state` for the transition ids before the last; returns the last
// state of the chain. The costs and the word go on the first arc, and are then none.
int32_t AddChain(const int32_t* begin, const int32_t* end, int32_t state, LatticeArc* arc,
                 LatticeBuilder* builder) {
  for (const int32_t* tid = begin; tid < end; ++tid) {
    const int32_t next = builder->AddState();
    builder->AddArc(state, {*tid, arc->olabel, next, arc->graph_cost, arc->acoustic_cost});
    *arc = {0, 0, arc->nextstate, 0.0f, 0.0f};
    state = next;
  }
  return state;
}

}  // namespace

std::vector<LatticePath> NBest(const LatticeView& lattice, const LatticeScales& scales, int32_t n) {
  return PathSearch(lattice, scales).Run(n);
}

std::vector<double> BackwardCosts(const LatticeView& lattice, const LatticeScales& scales) {
  std::vector<double> costs(lattice.num_states);
  for (int32_t state = lattice.num_states - 1; state >= 0; --state) {
    double best = scales.Cost(lattice.finals[state]);
    for (const LatticeArc* arc = lattice.Begin(state); arc < lattice.End(state); ++arc) {
      best = std::min(best, scales.Cost(*arc) + costs[arc->nextstate]);
    }
    costs[state] = best;
  }
  return costs;
}

Lattice Prune(const LatticeView& lattice, const LatticeScales& scales, double beam) {
  LatticeBuilder builder(lattice);
  builder.AddStates(lattice.num_states);
  const std::vector<double> backward = BackwardCosts(lattice, scales);
  std::vector<double> forward(lattice.num_states, kInfinity);
  if (lattice.num_states) forward[0] = 0.0;
  const double cutoff = lattice.num_states ? backward[0] + beam : 0.0;
  for (int32_t state = 0; state < lattice.num_states; ++state) {
    for (const LatticeArc* arc = lattice.Begin(state); arc < lattice.End(state); ++arc) {
      const double cost = forward[state] + scales.Cost(*arc);
      forward[arc->nextstate] = std::min(forward[arc->nextstate], cost);
      if (cost + backward[arc->nextstate] <= cutoff) builder.AddArc(state, *arc);
    }
    if (forward[state] + scales.Cost(lattice.finals[state]) > cutoff) continue;
    const int32_t string = lattice.IsCompact() ? lattice.final_strings[state] : 0;
    builder.SetFinal(state, lattice.finals[state], string);
  }
  return builder.Build();
}

Lattice ToStateLevel(const LatticeView& lattice) {
  LatticeBuilder builder(false);
  builder.AddStates(lattice.num_states);
  const auto string = [&](int32_t i) { return lattice.tids + lattice.string_offsets[i]; };
  for (int32_t state = 0; state < lattice.num_states; ++state) {
    for (const LatticeArc* in = lattice.Begin(state); in < lattice.End(state); ++in) {
      const int32_t *begin = string(in->ilabel), *end = string(in->ilabel + 1);
      LatticeArc arc = *in;
      const int32_t from = AddChain(begin, std::max(begin, end - 1), state, &arc, &builder);
      arc.ilabel = begin < end ? end[-1] : 0;
      builder.AddArc(from, arc);
    }
    const LatticeCost& cost = lattice.finals[state];
    if (!IsFinal(cost)) continue;
    const int32_t i = lattice.final_strings[state];
    LatticeArc rest{0, 0, 0, cost.graph_cost, cost.acoustic_cost};
    const int32_t last = AddChain(string(i), string(i + 1), state, &rest, &builder);
    builder.SetFinal(last, {rest.graph_cost, rest.acoustic_cost});
  }
  return builder.Build();
}

Lattice ToCompact(const LatticeView& lattice) {
  LatticeBuilder builder(true);
  builder.AddStates(lattice.num_states);
  for (int32_t state = 0; state < lattice.num_states; ++state) {
    for (const LatticeArc* in = lattice.Begin(state); in < lattice.End(state); ++in) {
      LatticeArc arc = *in;
      arc.ilabel = builder.AddString(&in->ilabel, &in->ilabel + (in->ilabel != 0));
      builder.AddArc(state, arc);
    }
    builder.SetFinal(state, lattice.finals[state]);
  }
  return builder.Build();
}

}  // namespace kdspeech
