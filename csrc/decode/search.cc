#include "decode/search.h"

#include <algorithm>
#include <string>
#include <utility>

#include "feat/error.h"

namespace kdspeech {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kPrefetch = 8;  // edges ahead: about a memory access's time

void CheckOptions(const SearchOptions& options) {
  const bool good = options.beam > 0 && options.lattice_beam >= 0 && options.max_active > 1 &&
                    options.min_active >= 0 && options.min_active <= options.max_active &&
                    options.prune_interval > 0 && options.beam_delta > 0 &&
                    options.prune_scale > 0 && options.prune_scale < 1 &&
                    options.acoustic_scale > 0 && options.acoustic_scale < kInfinity;
  if (!good) {
    throw InputError(
        "decoder: an option is out of range (beam, lattice_beam, prune_interval, acoustic_scale "
        "positive, max_active at least 2 and not below min_active)");
  }
}

[[noreturn]] void ThrowBadLoglike(const float* loglikes, int64_t num_pdfs, int64_t frame) {
  int64_t pdf = 0;
  while (pdf + 1 < num_pdfs && loglikes[pdf] < kInfinity) ++pdf;
  throw InputError("the log-likelihood of frame " + std::to_string(frame) + ", pdf " +
                   std::to_string(pdf) + " is " + std::to_string(loglikes[pdf]));
}

}  // namespace

ScoredGraph::ScoredGraph(const Graph& graph, std::vector<int32_t> tid_to_pdf)
    : graph_(graph), tid_to_pdf_(std::move(tid_to_pdf)) {
  const int64_t num_tids = static_cast<int64_t>(tid_to_pdf_.size()) - 1;
  if (graph.MaxTid() > num_tids) {
    throw InputError("the graph has transition id " + std::to_string(graph.MaxTid()) +
                     ", the model ends at " + std::to_string(num_tids) +
                     ": the graph was made for another model");
  }
  const GraphArc* end = graph.Arcs() + graph.NumArcs();
  for (const GraphArc* arc = graph.Arcs(); arc < end; ++arc) {
    if (arc->tid == 0) continue;
    const int32_t pdf = tid_to_pdf_[arc->tid];
    if (pdf < 0) {
      throw InputError("transition id " + std::to_string(arc->tid) + " of the graph has no pdf");
    }
    num_pdfs_ = std::max(num_pdfs_, pdf + 1);
  }
}

Search::Search(std::shared_ptr<const ScoredGraph> graph, const SearchOptions& options)
    : scored_(std::move(graph)), graph_(scored_->graph()), options_(options) {
  CheckOptions(options);
  if (options_.best_only) options_.lattice_beam = 0;
  token_of_state_.assign(graph_.NumStates(), -1);
}

int64_t Search::TokensEnd(int64_t frame) const {
  return frame < NumFrames() ? frames_[frame + 1].tokens : costs_.size();
}

int64_t Search::EmittingEnd(int64_t frame) const {
  return frame < NumFrames() ? frames_[frame + 1].epsilons : edges_.size();
}

void Search::Start() {
  std::fill(token_of_state_.begin(), token_of_state_.end(), -1);
  states_.clear();
  costs_.Resize(0);
  extras_.Resize(0);
  edges_.Resize(0);
  pruned_frames_ = 0;
  frames_.assign(1, Frame{0, 0, 0});
  bool better;
  costs_.MakeRoom(1);
  Reach(graph_.Start(), 0.0f, &better);
  CloseEpsilons(options_.beam);
}

void Search::Advance(const float* loglikes, int64_t num_frames, int64_t num_pdfs) {
  if (num_pdfs < scored_->NumPdfs()) {
    throw InputError("log-likelihoods of " + std::to_string(num_pdfs) + " pdfs, the graph needs " +
                     std::to_string(scored_->NumPdfs()) + ": it was made for another model");
  }
  for (int64_t i = 0; i < num_frames && Alive(); ++i, loglikes += num_pdfs) {
    if (NumFrames() % options_.prune_interval == 0) {
      Prune(options_.lattice_beam * options_.prune_scale);
    }
    const Cutoff cutoff = FindCutoff();
    SetAcousticCosts(loglikes, num_pdfs, cutoff.best_cost);
    CloseEpsilons(Emit(loglikes, cutoff));
  }
}

// Acoustic costs of the frame, so that arrivals come out relative to the best token's cost.
void Search::SetAcousticCosts(const float* loglikes, int64_t num_pdfs, float offset) {
  acoustic_costs_.resize(num_pdfs);
  const float scale = options_.acoustic_scale;
  float* costs = acoustic_costs_.data();
  bool good = true;
  for (int64_t pdf = 0; pdf < num_pdfs; ++pdf) {
    costs[pdf] = -scale * loglikes[pdf] - offset;
    good &= loglikes[pdf] < kInfinity;
  }
  if (!good) ThrowBadLoglike(loglikes, num_pdfs, NumFrames());
}

Search::Cutoff Search::FindCutoff() {
  const float* costs = costs_.data() + frames_.back().tokens;
  const int64_t size = static_cast<int64_t>(states_.size());
  const int64_t best = std::min_element(costs, costs + size) - costs;
  const float limit = costs[best] + options_.beam;
  int64_t within = 0;
  for (int64_t i = 0; i < size; ++i) within += costs[i] < limit;
  return LimitActive({costs[best], limit, options_.beam, static_cast<int32_t>(best)}, within);
}

// Narrows or widens the beam's cutoff, which `within` tokens lie below, to max_active or
// min_active.
Search::Cutoff Search::LimitActive(Cutoff cutoff, int64_t within) {
  float cost = cutoff.cost;
  if (within > options_.max_active) {
    cost = CostByRank(options_.max_active, cutoff.cost);
  } else if (within <= options_.min_active && options_.min_active > 0) {
    const bool few = static_cast<int64_t>(states_.size()) <= options_.min_active;
    cost = few ? kInfinity : CostByRank(options_.min_active, kInfinity);
    if (cost <= cutoff.cost) return cutoff;
  } else {
    return cutoff;
  }
  cutoff.adaptive_beam = cost - cutoff.best_cost + options_.beam_delta;
  cutoff.cost = cost;
  return cutoff;
}

// The cost that `rank` tokens of the newest frame do not exceed, where more than `rank` lie below
// `below`.
float Search::CostByRank(int32_t rank, float below) {
  costs_by_rank_.resize(states_.size());
  const float* costs = costs_.data() + frames_.back().tokens;
  int64_t size = 0;
  for (size_t i = 0; i < states_.size(); ++i) {
    costs_by_rank_[size] = costs[i];
    size += costs[i] < below;
  }
  std::nth_element(costs_by_rank_.begin(), costs_by_rank_.begin() + rank,
                   costs_by_rank_.begin() + size);
  return costs_by_rank_[rank];
}

// What the best token leads to bounds the next frame's cutoff from the first token on.
float Search::FirstCutoff(const Cutoff& cutoff) const {
  const int32_t state = states_[cutoff.best];
  float best = kInfinity;
  for (const GraphArc* arc = graph_.Emitting(state); arc < graph_.End(state); ++arc) {
    const float acoustic = acoustic_costs_[scored_->TidToPdf()[arc->tid]];
    best = std::min(best, cutoff.best_cost + arc->cost + acoustic);
  }
  return best + cutoff.adaptive_beam;
}

// Makes the next frame's tokens out of the emitting arcs; returns that frame's cutoff.
float Search::Emit(const float* loglikes, const Cutoff& cutoff) {
  const int64_t first_edge = edges_.size();
  const float limit = FollowArcs(loglikes, cutoff);
  for (const int32_t state : states_) token_of_state_[state] = -1;
  states_.clear();
  frames_.push_back({static_cast<int32_t>(costs_.size()), 0, 0});
  ReachTargets(first_edge);
  return limit;
}

// Adds an edge for each emitting arc that stays within the next frame's cutoff, which comes down as
// better ones are found and is returned. The edges' targets are states as yet. Without branches on
// costs, for they could not be predicted.
float Search::FollowArcs(const float* loglikes, const Cutoff& cutoff) {
  const int64_t first = frames_.back().tokens, size = static_cast<int64_t>(states_.size());
  const int32_t* tid_to_pdf = scored_->TidToPdf();
  float limit = FirstCutoff(cutoff);
  for (int64_t i = 0; i < size; ++i) {
    if (i + kPrefetch < size) __builtin_prefetch(graph_.Emitting(states_[i + kPrefetch]));
    const float cost = costs_[first + i];
    if (cost > cutoff.cost) continue;
    const GraphArc* begin = graph_.Emitting(states_[i]);
    const GraphArc* end = graph_.End(states_[i]);
    edges_.MakeRoom(end - begin);
    Edge* edge = edges_.data() + edges_.size();
    for (const GraphArc* arc = begin; arc < end; ++arc) {
      const int32_t pdf = tid_to_pdf[arc->tid];
      const float arrival = cost + arc->cost + acoustic_costs_[pdf];
      *edge = {static_cast<int32_t>(first + i), arc->next,
               static_cast<int32_t>(arc - graph_.Arcs()), arrival, -loglikes[pdf]};
      edge += arrival < limit;
      limit = std::min(limit, arrival + cutoff.adaptive_beam);
    }
    edges_.Resize(edge - edges_.data());
  }
  return limit;
}

// Makes tokens of the newest frame in the states that the edges from `first_edge` on lead to. With
// best_only each token keeps one edge, in the order of the tokens.
void Search::ReachTargets(int64_t first_edge) {
  const int64_t size = edges_.size();
  const int32_t first = frames_.back().tokens;
  costs_.MakeRoom(size - first_edge);
  states_.resize(size - first_edge);
  int32_t* states = states_.data();
  float* costs = costs_.data() + first;
  Edge* edges = edges_.data();
  int32_t num_tokens = 0;
  for (int64_t i = first_edge; i < size; ++i) {
    if (i + kPrefetch < size) __builtin_prefetch(&token_of_state_[edges[i + kPrefetch].target]);
    Edge edge = edges[i];
    int32_t& token = token_of_state_[edge.target];
    const bool is_new = token < 0;
    const int32_t index = is_new ? num_tokens : token;
    const float old = is_new ? kInfinity : costs[index];
    token = index;
    states[index] = edge.target;
    costs[index] = std::min(edge.arrival, old);
    num_tokens += is_new;
    edge.target = first + index;
    if (!options_.best_only) {
      edges[i] = edge;
    } else if (edge.arrival < old) {
      edges[first_edge + index] = edge;
    }
  }
  states_.resize(num_tokens);
  costs_.Resize(first + num_tokens);
  if (options_.best_only) edges_.Resize(first_edge + num_tokens);
}

// Brings `cost` to the newest frame's token in `state`, which is made if it is not there. Returns
// the token.
inline int32_t Search::Reach(int32_t state, float cost, bool* better) {
  const int32_t first = frames_.back().tokens;
  int32_t& index = token_of_state_[state];
  if (index < 0) {
    index = static_cast<int32_t>(states_.size());
    states_.push_back(state);
    costs_.Push(cost);
    *better = true;
  } else {
    float& old = costs_[first + index];
    *better = cost < old;
    old = std::min(old, cost);
  }
  return first + index;
}

// Follows epsilon arcs from the newest frame's tokens, and completes the frame.
void Search::CloseEpsilons(float cutoff) {
  improved_.clear();
  with_epsilons_.clear();
  size_t done = 0, again = 0;
  while (done < states_.size() || again < improved_.size()) {
    if (done == states_.size()) {
      RelaxEpsilons(improved_[again++], cutoff, static_cast<int32_t>(done));
      continue;
    }
    if (done + kPrefetch < states_.size()) {
      __builtin_prefetch(graph_.Offsets() + 2 * states_[done + kPrefetch]);
    }
    const int32_t index = static_cast<int32_t>(done++);
    if (graph_.Epsilons(states_[index]) == graph_.Emitting(states_[index])) continue;
    with_epsilons_.push_back(index);
    RelaxEpsilons(index, cutoff, static_cast<int32_t>(done));
  }
  frames_.back().epsilons = static_cast<int32_t>(edges_.size());
  AddEpsilonEdges(cutoff);
  frames_.back().emitting = static_cast<int32_t>(edges_.size());
  extras_.MakeRoom(costs_.size() - extras_.size());
  extras_.Resize(costs_.size());
  std::fill(extras_.data() + frames_.back().tokens, extras_.data() + extras_.size(), 0.0f);
}

// Tokens before `done` that get better are noted, the others' turn is still to come.
void Search::RelaxEpsilons(int32_t index, float cutoff, int32_t done) {
  const int32_t first = frames_.back().tokens;
  const float cost = costs_[first + index];
  if (!(cost < cutoff)) return;
  const GraphArc* end = graph_.Emitting(states_[index]);
  const GraphArc* begin = graph_.Epsilons(states_[index]);
  costs_.MakeRoom(end - begin);
  for (const GraphArc* arc = begin; arc < end; ++arc) {
    const float arrival = cost + arc->cost;
    if (!(arrival < cutoff)) continue;
    bool better;
    const int32_t target = Reach(arc->next, arrival, &better) - first;
    if (better && target < done) improved_.push_back(target);
  }
}

// Edges of all epsilon arcs within the cutoff; with best_only, of those on their target's best way.
void Search::AddEpsilonEdges(float cutoff) {
  const int32_t first = frames_.back().tokens;
  for (const int32_t index : with_epsilons_) {
    const GraphArc* begin = graph_.Epsilons(states_[index]);
    const GraphArc* end = graph_.Emitting(states_[index]);
    const float cost = costs_[first + index];
    if (!(cost < cutoff)) continue;
    edges_.MakeRoom(end - begin);
    for (const GraphArc* arc = begin; arc < end; ++arc) {
      const float arrival = cost + arc->cost;
      if (!(arrival < cutoff)) continue;
      const int32_t target = first + token_of_state_[arc->next];
      if (options_.best_only && arrival != costs_[target]) continue;
      edges_.Push(
          {first + index, target, static_cast<int32_t>(arc - graph_.Arcs()), arrival, 0.0f});
    }
  }
}

}  // namespace kdspeech
