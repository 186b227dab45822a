// Viterbi beam search over a decoding graph: token passing, frame by frame.
//
// The search is Kaldi's (Povey et al., "Generating exact lattices in the WFST framework", ICASSP
// 2012; lattice-faster-decoder): a token is a graph state at a frame with the cost of its best
// path; every way into a token within the beam is kept as an edge, and each `prune_interval` frames
// the tokens and edges whose best complete path is worse than the best one by more than
// `lattice_beam` are removed. Tokens and edges lie in two arenas in the order of time and are
// pruned in place.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "decode/buffer.h"
#include "decode/graph.h"
#include "decode/lattice.h"

namespace kdspeech {

struct SearchOptions {
  float beam = 16.0f;
  float lattice_beam = 10.0f;
  int32_t max_active = std::numeric_limits<int32_t>::max();  // tokens of a frame that go on
  int32_t min_active = 200;     // as many tokens go on even where the beam is narrower
  int32_t prune_interval = 25;  // frames
  float beam_delta = 0.5f;      // added to the beam that max_active or min_active lead to
  float prune_scale = 0.1f;     // changes below lattice_beam * prune_scale are not followed back
  float acoustic_scale = 0.1f;
  bool best_only = false;  // keep each token's best way in alone: no lattice, but faster
};

// A graph and a model that fit each other: which column of the log-likelihoods each transition id
// takes.
class ScoredGraph {
 public:
  // `tid_to_pdf`: index 0 is unused. Throws InputError where the graph has a transition id outside,
  // or one whose pdf is negative.
  ScoredGraph(const Graph& graph, std::vector<int32_t> tid_to_pdf);

  const Graph& graph() const { return graph_; }
  const int32_t* TidToPdf() const { return tid_to_pdf_.data(); }
  int32_t NumPdfs() const { return num_pdfs_; }  // columns needed

 private:
  Graph graph_;
  std::vector<int32_t> tid_to_pdf_;
  int32_t num_pdfs_ = 0;
};

// A path through the graph. The acoustic cost is -log likelihood, without the acoustic scale.
struct BestPath {
  std::vector<int32_t> tids;  // one per frame
  std::vector<int32_t> words;
  double graph_cost = 0, acoustic_cost = 0;
  bool reached_final = false;  // it ends in a final state
};

class Search {
 public:
  // Throws InputError for options out of range.
  Search(std::shared_ptr<const ScoredGraph> graph, const SearchOptions& options);

  // Begins an utterance; must come before the first Advance.
  void Start();

  // Takes `num_frames` more frames, rows of num_pdfs log-likelihoods each. Throws InputError for
  // too few columns and for log-likelihoods that are NaN or +infinity. Without effect once no path
  // is left.
  void Advance(const float* loglikes, int64_t num_frames, int64_t num_pdfs);

  int64_t NumFrames() const { return static_cast<int64_t>(frames_.size()) - 1; }
  bool Alive() const { return !states_.empty(); }  // some path is left

  // The best path so far, to a final state where one is reached and `use_final`. Empty where no
  // path is left.
  BestPath Best(bool use_final) const;

  // Ends the utterance: prunes with the final costs. No Advance may follow.
  void Finish();

  // The state-level lattice, after Finish. Where no final state was reached all states of the last
  // frame count as final. Empty where no path is left.
  Lattice RawLattice() const;

 private:
  // A way from token `source` into token `target` by arc number `arc`; `arrival` is the cost that
  // it brings to the target.
  struct Edge {
    int32_t source, target, arc;
    float arrival, acoustic_cost;
  };
  // Where a frame's tokens, the epsilon edges among them, and the edges to the next frame begin.
  struct Frame {
    int32_t tokens, epsilons, emitting;
  };
  struct Cutoff {
    float best_cost;
    float cost;           // tokens above it do not go on
    float adaptive_beam;  // for the tokens of the next frame
    int32_t best;         // index of the token with the least cost
  };

  // search.cc: forward.
  void SetAcousticCosts(const float* loglikes, int64_t num_pdfs, float offset);
  Cutoff FindCutoff();
  Cutoff LimitActive(Cutoff cutoff, int64_t within);
  float CostByRank(int32_t rank, float below);
  float FirstCutoff(const Cutoff& cutoff) const;
  float Emit(const float* loglikes, const Cutoff& cutoff);
  float FollowArcs(const float* loglikes, const Cutoff& cutoff);
  void ReachTargets(int64_t first_edge);
  int32_t Reach(int32_t state, float cost, bool* better);
  void CloseEpsilons(float cutoff);
  void RelaxEpsilons(int32_t index, float cutoff, int32_t done);
  void AddEpsilonEdges(float cutoff);

  // search_prune.cc: backward.
  void Prune(float delta);
  float PruneFrame(int64_t frame);
  void PruneEpsilons(int64_t frame);
  void SetFinalExtras();
  void Compact(int64_t first_frame);
  void CompactTokens(int64_t first_frame, std::vector<int32_t>* new_tokens);
  void CompactEdges(int64_t first_frame, const std::vector<int32_t>& new_tokens);
  float ExtraOf(const Edge& edge) const;

  // search_output.cc
  bool ReachedFinal() const;
  std::vector<float> FinalCosts(bool use_final) const;
  const Edge* BestEdge(int64_t begin, int64_t end, int32_t target) const;
  const Edge* BestEdge(int32_t target, int64_t* frame) const;
  std::vector<int32_t> TopologicalRanks() const;

  int64_t TokensEnd(int64_t frame) const;
  int64_t EmittingEnd(int64_t frame) const;

  std::shared_ptr<const ScoredGraph> scored_;
  const Graph& graph_;
  SearchOptions options_;

  // The arenas. A token's cost is relative to the best one of the frame before; its extra is how
  // much worse than the best path the best path through it is.
  Buffer<float> costs_, extras_;
  Buffer<Edge> edges_;
  std::vector<Frame> frames_;
  int64_t pruned_frames_ = 0;  // as many frames have been pruned before

  // Of the newest frame: its tokens' states, and for each state the token's index or -1.
  std::vector<int32_t> states_, token_of_state_;

  std::vector<int32_t> with_epsilons_;  // tokens with epsilon arcs
  std::vector<int32_t> improved_;       // those to be looked at again
  std::vector<float> acoustic_costs_, costs_by_rank_, old_extras_;
};

}  // namespace kdspeech
