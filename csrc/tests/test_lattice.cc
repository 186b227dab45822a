// Lattices under the sanitizers: every operation on random lattices, and damaged archives.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

#include "decode/kernel.h"
#include "decode/lattice_align.h"
#include "decode/lattice_builder.h"
#include "decode/lattice_determinize.h"
#include "decode/lattice_io.h"
#include "decode/lattice_mbr.h"
#include "decode/lattice_path.h"
#include "decode/lattice_posterior.h"
#include "decode/lattice_rescore.h"
#include "decode/string_trie.h"
#include "feat/error.h"
#include "feat/kernel.h"

using namespace kdspeech;

namespace {

#define CHECK(condition)                                                   \
  do {                                                                     \
    if (!(condition)) {                                                    \
      std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                        \
    }                                                                      \
  } while (false)

constexpr int32_t kNumTids = 6;  // transition ids 1 .. 6; phones of two each, the odd one begins
constexpr int32_t kNumWords = 3;
constexpr LatticeScales kScales{0.5, 1.0, 0.0};

bool Near(double a, double b, double tolerance) { return std::abs(a - b) <= tolerance; }

// `frames` frames of `width` states, all reachable, in a random order for the builder.
Lattice RandomLattice(unsigned seed, int32_t frames, int32_t width) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> cost(0.0f, 4.0f);
  LatticeBuilder builder(false);
  builder.AddStates(1 + frames * width);
  const auto state = [&](int32_t frame, int32_t i) {
    return frame == 0 ? 0 : 1 + (frames - frame) * width + i;
  };
  const auto draw = [&](int32_t size) { return static_cast<int32_t>(random() % size); };
  for (int32_t frame = 0; frame < frames; ++frame) {
    for (int32_t i = 0; i < (frame ? width : 1); ++i) {
      for (int32_t k = 0; k < 3; ++k) {
        const int32_t word = std::max(0, draw(kNumWords + 3) - 2);
        builder.AddArc(state(frame, i), {1 + draw(kNumTids), word, state(frame + 1, draw(width)),
                                         cost(random), cost(random)});
      }
    }
  }
  for (int32_t i = 0; i < width; ++i) builder.SetFinal(state(frames, i), {cost(random), 0.0f});
  return builder.Build();
}

void CheckSound(const Lattice& lattice) {
  CheckLattice(lattice.View(), lattice.offsets.size(), lattice.arcs.size(),
               lattice.string_offsets.size(), lattice.tids.size());
}

std::vector<int32_t> PhoneStarts() { return {0, 1, 0, 2, 0, 3, 0}; }

Lattice Determinized(const Lattice& lattice, double beam, int64_t max_mem, bool phones) {
  double effective_beam = 0.0;
  const Lattice compact = DeterminizePhonePruned(lattice.View(), PhoneStarts(),
                                                 {0.5, beam, max_mem, phones}, &effective_beam);
  CheckSound(compact);
  CHECK(effective_beam <= beam);
  return compact;
}

void TestDeterminization() {
  for (unsigned seed = 0; seed < 8; ++seed) {
    const Lattice lattice = RandomLattice(seed, 12, 4);
    const LatticePath best = NBest(lattice.View(), kScales, 1)[0];
    for (const bool phones : {true, false}) {
      for (const int64_t max_mem : {int64_t{5000}, int64_t{100000}, int64_t{50000000}}) {
        const Lattice compact = Determinized(lattice, 5.0, max_mem, phones);
        const LatticePath path = NBest(compact.View(), kScales, 1)[0];
        CHECK(path.words == best.words && path.tids == best.tids);
        CHECK(Near(path.graph_cost, best.graph_cost, 1e-4));
        const Lattice expanded = ToStateLevel(compact.View());
        CheckSound(expanded);
        CHECK(NBest(expanded.View(), kScales, 1)[0].tids == best.tids);
      }
    }
  }
  CHECK(Determinized(Lattice(), 5.0, 1000, true).NumStates() == 0);
}

void TestArchives() {
  const Lattice lattice = RandomLattice(1, 5, 3), compact = Determinized(lattice, 9.0, 0, true);
  std::mt19937 random(2);
  for (const Lattice* one : {&lattice, &compact}) {
    const std::string text = ArchiveEntryText("utt", one->View());
    const std::string binary = ArchiveEntryBinary("utt", one->View());
    for (const std::string& whole : {text, binary}) {
      ArchiveEntry entry;
      CHECK(ReadArchiveEntry(whole.data(), whole.size(), &entry));
      CHECK(entry.key == "utt" && entry.size == whole.size());
      CHECK(ArchiveEntryText("utt", entry.lattice.View()) == text);
      for (int i = 0; i < 2000; ++i) {
        // On the heap, exactly as long as needed: reads outside are caught.
        std::vector<char> damaged(whole.begin(), whole.begin() + random() % (whole.size() + 1));
        for (int k = 0; k < i % 3 && !damaged.empty(); ++k) {
          damaged[random() % damaged.size()] = static_cast<char>(random());
        }
        damaged.shrink_to_fit();
        try {
          if (ReadArchiveEntry(damaged.data(), damaged.size(), &entry)) CheckSound(entry.lattice);
        } catch (const InputError&) {
        }
      }
    }
  }
}

TidTables Tables() {
  return {{-1, 0, 1, 2, 3, 4, 5}, {0, 1, 1, 2, 2, 3, 3}, {0, 1, 1, 0, 0, 0, 0}};
}

bool IsRefused(const TimedLattice& lattice, const AcousticScores& scores) {
  try {
    ComputePosteriors(lattice, scores, Tables(), nullptr, {kScales});
  } catch (const InputError&) {
    return true;
  }
  return false;
}

void TestPosteriors() {
  const Lattice lattice = RandomLattice(3, 9, 4), compact = Determinized(lattice, 20.0, 0, true);
  const std::vector<int32_t> alignment{1, 2, 3, 4, 5, 6, 1, 2, 3};
  std::vector<float> loglikes(9 * kNumTids, -1.0f), gradient(9 * kNumTids, 0.0f);
  const AcousticScores scores{loglikes.data(), 9, kNumTids};
  const Gradient target{gradient.data(), 9, kNumTids, 0.5};
  const auto take_sum = [&] {
    double sum = 0.0;
    for (float& weight : gradient) sum += std::exchange(weight, 0.0f);
    return sum;
  };
  for (const Lattice* one : {&lattice, &compact}) {
    const TimedLattice timed(one->View());
    for (const Accuracy accuracy : {Accuracy::kNone, Accuracy::kSmbr, Accuracy::kMpfe}) {
      const PosteriorOptions options{kScales, accuracy, true, 0.0};
      const auto* reference = accuracy == Accuracy::kNone ? nullptr : &alignment;
      const LatticePosteriors result =
          AccumulatePosteriors(timed, scores, Tables(), reference, options, target);
      CHECK(Near(take_sum(), accuracy == Accuracy::kNone ? 4.5 : 0.0, 1e-3));
      CHECK(result.num_frames == 9 && result.accuracy <= 9.0);
    }
    std::vector<float> teacher(loglikes);
    for (size_t i = 0; i < teacher.size(); ++i) teacher[i] += static_cast<float>(i % 5);
    const AcousticScores other{teacher.data(), 9, kNumTids};
    const auto distil = [&](const AcousticScores& student) {
      return AccumulateDistillation(timed, student, kScales, {{scores, 0.5}, {scores, 0.5}},
                                    kScales, Tables(), target);
    };
    const double entropy = -distil(scores);
    CHECK(std::all_of(gradient.begin(), gradient.end(), [](float x) { return x == 0.0f; }));
    CHECK(entropy > 0.0 && -distil(other) > entropy);
    CHECK(Near(take_sum(), 0.0, 1e-3));
  }
  CHECK(!IsRefused(TimedLattice(lattice.View()), scores));
  CHECK(IsRefused(TimedLattice(lattice.View()), {loglikes.data(), 9, 3}));
}

// 4^2000 paths, which no double holds, of a likelihood that none holds either.
void TestLongLattices() {
  constexpr int32_t kFrames = 2000;
  Lattice lattice;
  for (int32_t frame = 0; frame < kFrames; ++frame) {
    for (int32_t k = 0; k < 4; ++k) lattice.arcs.push_back({1 + k, 0, frame + 1, 0.0f, 0.0f});
    lattice.EndState();
  }
  lattice.EndState({0.0f, 0.0f});
  const TimedLattice timed(lattice.View());
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double score :
       {0.0, -1000.0, 1000.0, -1e30, -infinity, infinity, infinity - infinity}) {
    std::vector<float> loglikes(kFrames * kNumTids, static_cast<float>(score));
    const AcousticScores scores{loglikes.data(), kFrames, kNumTids};
    CHECK(IsRefused(timed, scores) == !std::isfinite(score));
    if (std::isfinite(score)) {
      const auto result = ComputePosteriors(timed, scores, Tables(), nullptr, {kScales});
      const double expected = kFrames * (0.5 * static_cast<float>(score) + std::log(4.0));
      CHECK(Near(result.log_likelihood, expected, 1e-12 * std::abs(expected)));
      for (const PosteriorEntry& entry : result.entries) CHECK(entry.weight == 0.25f);
    }
    if (!(score <= -1000.0)) continue;
    // One path's pdf is better than all others.
    for (int32_t frame = 0; frame < kFrames; ++frame) loglikes[frame * kNumTids] = -1.0f;
    const auto one = ComputePosteriors(timed, scores, Tables(), nullptr, {kScales});
    CHECK(Near(one.log_likelihood, -0.5 * kFrames, 1e-9));
    for (const PosteriorEntry& entry : one.entries) CHECK(entry.weight == (entry.tid == 1));
  }
}

// Every SIMD variant against the library's, also where 8 do not divide the count.
void TestExponentials() {
  std::mt19937 random(5);
  std::uniform_real_distribution<double> draw(0.0, 1.0);
  for (const Kernel* const* kernel = AvailableKernels(); *kernel != nullptr; ++kernel) {
    setenv("KDSPEECH_SIMD", (*kernel)->name, 1);
    for (const size_t count : {0, 1, 3, 8, 5000}) {
      std::vector<double> x(count);
      for (double& value : x) value = -720.0 * std::pow(draw(random), 4);
      if (count == 8) x = {0.0, -0.0, -1e-300, -708.0, -708.1, -1e30, -HUGE_VAL, std::nan("")};
      std::vector<double> result(x);
      ActiveLatticeKernel().exp(result.data(), count);
      for (size_t i = 0; i < count; ++i) {
        const double expected = x[i] < -708.0 ? 0.0 : std::exp(x[i]);
        CHECK(std::isnan(x[i]) ? std::isnan(result[i])
                               : Near(result[i], expected, 1e-15 * expected));
      }
    }
  }
  unsetenv("KDSPEECH_SIMD");
}

// A grammar of one state that knows all words, and one that it backs off to.
Grammar SmallGrammar(float cost) {
  const int32_t backoff = 9;
  std::vector<Grammar::Arc> arcs{{1, 1, cost}, {backoff, 1, 0.5f}};
  for (int32_t word = 1; word <= kNumWords; ++word) arcs.push_back({word, 0, 2.0f * cost});
  return Grammar({0, 2, 2 + kNumWords}, arcs, {1.0f, 2.0f}, 0, backoff);
}

void TestTheRest() {
  const Lattice lattice = RandomLattice(4, 8, 4), compact = Determinized(lattice, 9.0, 0, true);
  CheckSound(Prune(lattice.View(), kScales, 2.0));
  CHECK(Prune(compact.View(), kScales, 0.0).NumStates() > 0);
  const MbrResult mbr = MbrDecode(compact.View(), kScales, true);
  CHECK(mbr.sausage.size() == 2 * mbr.words.size() + 1);
  const Grammar old_grammar = SmallGrammar(1.0f), new_grammar = SmallGrammar(3.0f);
  const Lattice there = RescoreLm(compact.View(), {{&old_grammar, -1.0}, {&new_grammar, 1.0}});
  const Lattice back = RescoreLm(there.View(), {{&old_grammar, 1.0}, {&new_grammar, -1.0}});
  CheckSound(there);
  const LatticePath one = NBest(compact.View(), kScales, 1)[0];
  const LatticePath other = NBest(back.View(), kScales, 1)[0];
  CHECK(one.words == other.words && Near(one.graph_cost, other.graph_cost, 1e-3));
  WordAlignOptions options;
  options.tid_to_phone = {0, 1, 1, 2, 2, 3, 3};
  options.is_final = {0, 1, 0, 1, 0, 1, 0};
  options.is_self_loop = {0, 0, 1, 0, 1, 0, 1};
  options.positions = {WordPosition::kUnknown, WordPosition::kNonword, WordPosition::kSingleton,
                       WordPosition::kBegin};
  bool caught = false;
  try {
    CheckSound(AlignWords(compact.View(), options));
    options.positions.pop_back();
    AlignWords(compact.View(), options);
  } catch (const InputError&) {
    caught = true;
  }
  CHECK(caught);
}

void TestStrings() {
  StringTrie trie;
  std::mt19937 random(5);
  std::vector<int32_t> strings{0};
  for (int i = 0; i < 5000; ++i) {
    strings.push_back(trie.Successor(strings[random() % strings.size()], 1 + random() % 4));
  }
  std::vector<int32_t> before, after;
  int32_t kept = strings[3000];
  trie.Get(kept, &before);
  CHECK(trie.Length(trie.RemovePrefix(kept, 1)) == static_cast<int32_t>(before.size()) - 1);
  const int64_t bytes = trie.Bytes();
  trie.Keep({&kept});
  trie.Get(kept, &after);
  CHECK(before == after && trie.Bytes() < bytes);
  CHECK(trie.CommonPrefix(kept, trie.Prefix(kept, 2), 100) == 2);
}

}  // namespace

int main() {
  TestDeterminization();
  TestArchives();
  TestPosteriors();
  TestLongLattices();
  TestExponentials();
  TestTheRest();
  TestStrings();
  return 0;
}
