#include "decode/lattice_mbr.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace kdspeech {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kDelta = 1e-5;  // makes insertions a little dearer than other errors
constexpr int kMaxRounds = 100;

double LogAdd(double a, double b) {
  if (a < b) std::swap(a, b);
  return b == -kInfinity ? a : a + std::log1p(std::exp(b - a));
}

double Loss(int32_t a, int32_t b) { return a == b ? 0.0 : 1.0; }

double Insertion(int32_t word) { return word ? 1.0 + kDelta : 0.0; }

// Sums over the arcs that are aligned to one place of the hypothesis, by word.
struct Bin {
  struct Sums {
    double gamma = 0.0, begin = 0.0, end = 0.0;
  };
  std::map<int32_t, Sums> words;

  void Add(int32_t word, double gamma, double begin, double end) {
    if (gamma == 0.0) return;
    Sums& sums = words[word];
    sums.gamma += gamma;
    sums.begin += gamma * begin;
    sums.end += gamma * end;
  }
};

// The names are the paper's: R the hypothesis with an empty word before, between and after its
// words, alpha' and beta' the expected edit distance to its first q words and its derivative.
class MbrDecoder {
 public:
  MbrDecoder(const LatticeView& lattice, const LatticeScales& scales)
      : num_states_(lattice.num_states + 1), times_(StateTimes(lattice)) {
    AddArcs(lattice, scales);
    alpha_.assign(num_states_, -kInfinity);
    alpha_[0] = 0.0;
    for (const Arc& arc : arcs_) {
      alpha_[arc.end] = LogAdd(alpha_[arc.end], alpha_[arc.start] + arc.loglike);
    }
    for (Arc& arc : arcs_) arc.prob = std::exp(alpha_[arc.start] + arc.loglike - alpha_[arc.end]);
  }

  MbrResult Run(std::vector<int32_t> words, bool decode_mbr) {
    MbrResult result;
    for (int round = 0; round <= kMaxRounds; ++round) {
      InsertEmptyWords(words);
      Accumulate();
      result = Result();
      words.clear();
      bool changed = false;
      for (size_t q = 1; q < r_.size(); ++q) {
        const int32_t best = decode_mbr ? result.sausage[q - 1].words[0].first : r_[q];
        changed |= Gamma(q, best) > Gamma(q, r_[q]);
        r_[q] = best;
        if (best) words.push_back(best);
      }
      if (!changed) break;
    }
    SetWords(&result);
    return result;
  }

 private:
  struct Arc {
    int32_t word, start, end;
    double loglike, prob;  // prob: of all that leads to `end`, how much comes by this arc
  };

  // The arcs in the order of the states they lead to; final costs lead to a state of their own.
  void AddArcs(const LatticeView& lattice, const LatticeScales& scales) {
    const int32_t last = lattice.num_states;
    int32_t frames = 0;
    for (int32_t state = 0; state < last; ++state) {
      if (times_[state] < 0) continue;
      for (const LatticeArc* arc = lattice.Begin(state); arc < lattice.End(state); ++arc) {
        arcs_.push_back({arc->olabel, state, arc->nextstate, -scales.Cost(*arc), 0.0});
      }
      if (!IsFinal(lattice.finals[state])) continue;
      arcs_.push_back({0, state, last, -scales.Cost(lattice.finals[state]), 0.0});
      frames = std::max(frames, times_[state] + FinalFrames(lattice, state));
    }
    times_.push_back(frames);
    std::stable_sort(arcs_.begin(), arcs_.end(),
                     [](const Arc& a, const Arc& b) { return a.end < b.end; });
  }

  static int32_t FinalFrames(const LatticeView& lattice, int32_t state) {
    if (!lattice.IsCompact()) return 0;
    const int32_t string = lattice.final_strings[state];
    return lattice.string_offsets[string + 1] - lattice.string_offsets[string];
  }

  void InsertEmptyWords(const std::vector<int32_t>& words) {
    r_.assign(2 * words.size() + 2, 0);  // r_[1] is the first, as in the paper
    for (size_t i = 0; i < words.size(); ++i) r_[2 * i + 2] = words[i];
  }

  // alpha' of an arc from alpha' of its start; notes the choices if `choices` is given.
  void ArcDistances(const Arc& arc, const double* start, double* distance, char* choices) const {
    distance[0] = start[0] + Insertion(arc.word);
    for (size_t q = 1; q < r_.size(); ++q) {
      const double match = start[q - 1] + Loss(arc.word, r_[q]);
      const double insertion = start[q] + Insertion(arc.word);
      const double deletion = distance[q - 1] + Loss(0, r_[q]);
      char choice = match <= insertion ? 1 : 2;
      double best = std::min(match, insertion);
      if (deletion < best) {
        best = deletion;
        choice = 3;
      }
      distance[q] = best;
      if (choices) choices[q] = choice;
    }
  }

  // Figures 4 and 5 of the paper.
  void Accumulate() {
    const size_t width = r_.size();
    std::vector<double> alpha(num_states_ * width, 0.0), beta(num_states_ * width, 0.0);
    std::vector<double> distance(width);
    for (size_t q = 1; q < width; ++q) alpha[q] = alpha[q - 1] + Loss(0, r_[q]);
    for (const Arc& arc : arcs_) {
      ArcDistances(arc, &alpha[arc.start * width], distance.data(), nullptr);
      for (size_t q = 0; q < width; ++q) alpha[arc.end * width + q] += arc.prob * distance[q];
    }
    risk_ = alpha.back();
    beta.back() = 1.0;
    bins_.assign(width, Bin());
    std::vector<char> choices(width);
    for (auto arc = arcs_.rbegin(); arc != arcs_.rend(); ++arc) {
      ArcDistances(*arc, &alpha[arc->start * width], distance.data(), choices.data());
      Distribute(*arc, choices, &beta[arc->end * width], &beta[arc->start * width]);
    }
    double rest = 0.0;  // what is aligned before the lattice begins
    for (size_t q = width - 1; q >= 1; --q) {
      rest += beta[q];
      bins_[q].Add(0, rest, 0.0, 0.0);
    }
  }

  // Passes beta' back over an arc and adds to the bins.
  void Distribute(const Arc& arc, const std::vector<char>& choices, const double* end,
                  double* start) {
    double rest = 0.0;
    for (size_t q = r_.size() - 1; q >= 1; --q) {
      const double beta = rest + arc.prob * end[q];
      rest = 0.0;
      if (choices[q] == 1) {
        start[q - 1] += beta;
        bins_[q].Add(arc.word, beta, times_[arc.start], times_[arc.end]);
      } else if (choices[q] == 2) {
        start[q] += beta;
      } else {
        rest = beta;
        bins_[q].Add(0, beta, times_[arc.end], times_[arc.end]);
      }
    }
    start[0] += rest + arc.prob * end[0];
  }

  double Gamma(size_t q, int32_t word) const {
    const auto found = bins_[q].words.find(word);
    return found == bins_[q].words.end() ? 0.0 : found->second.gamma;
  }

  MbrResult Result() const {
    MbrResult result;
    result.bayes_risk = risk_;
    for (size_t q = 1; q < r_.size(); ++q) {
      SausageBin bin;
      for (const auto& [word, sums] : bins_[q].words) {
        bin.words.emplace_back(word, static_cast<float>(sums.gamma));
        bin.begin += sums.begin;
        bin.end += sums.end;
      }
      std::sort(bin.words.begin(), bin.words.end(), [](const auto& a, const auto& b) {
        return a.second != b.second ? a.second > b.second : a.first > b.first;
      });
      if (!result.sausage.empty() && result.sausage.back().end > bin.begin) {
        bin.begin = result.sausage.back().end = 0.5 * (result.sausage.back().end + bin.begin);
      }
      result.sausage.push_back(bin);
    }
    return result;
  }

  // The words of the hypothesis, their confidences and times.
  void SetWords(MbrResult* result) const {
    for (size_t q = 1; q < r_.size(); ++q) {
      if (r_[q] == 0) continue;
      const auto found = bins_[q].words.find(r_[q]);
      const Bin::Sums sums = found == bins_[q].words.end() ? Bin::Sums() : found->second;
      const double gamma = sums.gamma > 0.0 ? sums.gamma : 1.0;
      result->words.push_back(r_[q]);
      result->confidences.push_back(static_cast<float>(sums.gamma));
      result->begins.push_back(sums.begin / gamma);
      result->ends.push_back(sums.end / gamma);
      SeparateLastWords(result);
    }
  }

  // Where the last two words overlap, they share the time from the begin of the first to the end of
  // the last as their lengths are to each other.
  static void SeparateLastWords(MbrResult* result) {
    const size_t last = result->words.size() - 1;
    std::vector<double>&begins = result->begins, &ends = result->ends;
    if (last == 0 || ends[last - 1] <= begins[last]) return;
    const double before = last > 1 ? ends[last - 2] : 0.0;
    const double left = std::max(before, std::min(begins[last - 1], begins[last]));
    const double right = std::max(ends[last - 1], ends[last]);
    const double first = ends[last - 1] - begins[last - 1], second = ends[last] - begins[last];
    const double middle = first > 0.0 ? left + (right - left) * first / (first + second) : left;
    begins[last - 1] = left;
    ends[last - 1] = begins[last] = middle;
    ends[last] = right;
  }

  const int32_t num_states_;  // with that of the end
  std::vector<int32_t> times_;
  std::vector<Arc> arcs_;
  std::vector<double> alpha_;
  std::vector<int32_t> r_;
  std::vector<Bin> bins_;
  double risk_ = 0.0;
};

}  // namespace

MbrResult MbrDecode(const LatticeView& lattice, const LatticeScales& scales, bool decode_mbr) {
  const std::vector<LatticePath> best = NBest(lattice, scales, 1);
  if (best.empty()) return {};
  return MbrDecoder(lattice, scales).Run(best[0].words, decode_mbr);
}

}  // namespace kdspeech
