// The forward-backward algorithm on lattices: posteriors of transition ids (for MMI), and the
// signed ones of minimum-risk training (sMBR, MPFE).
#pragma once

#include <cstdint>
#include <vector>

#include "decode/lattice_chain.h"
#include "decode/lattice_path.h"

namespace kdspeech {

// Log likelihoods that take the place of a lattice's acoustic costs: loglikes[frame][pdf].
struct AcousticScores {
  const float* loglikes = nullptr;  // null: the lattice keeps its own
  int64_t num_frames = 0, num_pdfs = 0;
};

// What the transition ids are; the index is the transition id, at 0 nothing.
struct TidTables {
  std::vector<int32_t> pdfs, phones;  // either may be empty where it is not needed
  std::vector<uint8_t> is_silence;    // as long as `phones`
};

enum class Accuracy {
  kNone,
  kSmbr,  // a frame is right where its pdf is that of the reference
  kMpfe,  // ... its phone
};

struct PosteriorOptions {
  LatticeScales scales;
  Accuracy accuracy = Accuracy::kNone;
  // All silence phones count as one where the reference is silence too; otherwise silence is
  // never right (Kaldi's --one-silence-class).
  bool one_silence_class = true;
  // Added to the log probability of a path for each frame that is wrong (boosted MMI, Povey et
  // al., 2008); `accuracy` says which are.
  double boost = 0.0;
};

struct PosteriorEntry {
  int32_t frame, tid;
  float weight;
};

struct LatticePosteriors {
  double log_likelihood = 0.0;  // of all paths together
  double accuracy = 0.0;        // expected number of right frames; with kNone 0
  double graph_cost = 0.0;      // expected, without the scale
  int32_t num_frames = 0;
  // The weight of each transition id in each frame, sorted by both, no zeros. Without accuracy (or
  // with boost) the weight is the posterior probability; with it, the posterior times how much
  // more accurate than the average the paths through it are: the derivative of the expected
  // accuracy by the scaled log likelihood.
  std::vector<PosteriorEntry> entries;
};

// `alignment`: the reference's transition ids, one for each frame of the lattice; null without
// accuracy. Throws InputError where the frames of lattice, alignment and scores are not as many,
// where the lattice is empty, or has a transition id or pdf that tables or scores lack.
LatticePosteriors ComputePosteriors(const TimedLattice& lattice, const AcousticScores& scores,
                                    const TidTables& tables, const std::vector<int32_t>* alignment,
                                    const PosteriorOptions& options);

// A matrix (num_frames, num_pdfs), to which `factor` times the weights are added.
struct Gradient {
  float* data;
  int64_t num_frames, num_pdfs;
  double factor = 1.0;
};

// As above, and instead of making entries adds their weights to `gradient`, by pdf.
LatticePosteriors AccumulatePosteriors(const TimedLattice& lattice, const AcousticScores& scores,
                                       const TidTables& tables,
                                       const std::vector<int32_t>* alignment,
                                       const PosteriorOptions& options, const Gradient& gradient);

struct Teacher {
  AcousticScores scores;
  double weight;
};

// Distillation: the expectation of a path's log posterior by `scores`, over the weighted posteriors
// of the teachers. Its derivative by the scaled log likelihoods, the posteriors of transition ids
// by the teachers less those by `scores`, is added to `gradient`.
double AccumulateDistillation(const TimedLattice& lattice, const AcousticScores& scores,
                              const LatticeScales& scales, const std::vector<Teacher>& teachers,
                              const LatticeScales& teacher_scales, const TidTables& tables,
                              const Gradient& gradient);

// The posterior probability of each arc.
std::vector<double> ArcPosteriors(const TimedLattice& lattice, const LatticeScales& scales);

// Writes the acoustic cost of each arc (num_arcs) and final cost (num_states) by `scores`.
void ScoreAcoustics(const TimedLattice& lattice, const AcousticScores& scores,
                    const std::vector<int32_t>& tid_to_pdf, float* arc_costs, float* final_costs);

}  // namespace kdspeech
