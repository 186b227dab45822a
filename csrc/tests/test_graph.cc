// Local epsilon removal under the sanitizers: random transducers with cycles and dead ends, and
// arrays that do not fit each other.
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>

#include "feat/error.h"
#include "graph/remove_epsilons.h"

using namespace kdspeech;

namespace {

#define CHECK(condition)                                                   \
  do {                                                                     \
    if (!(condition)) {                                                    \
      std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                        \
    }                                                                      \
  } while (false)

Fst RandomFst(std::mt19937* random, int num_states) {
  Fst fst;
  fst.start = (*random)() % num_states;
  for (int s = 0; s < num_states; ++s) {
    const bool is_final = (*random)() % 4 == 0;
    fst.finals.push_back(is_final ? 0.5f : std::numeric_limits<float>::infinity());
    for (int n = (*random)() % 4; n > 0; --n) {
      const auto label = [&] { return static_cast<int32_t>((*random)() % 3); };
      fst.arcs.push_back({label(), label(), static_cast<float>((*random)() % 8),
                          static_cast<int32_t>((*random)() % num_states)});
    }
    fst.offsets.push_back(static_cast<int64_t>(fst.arcs.size()));
  }
  return fst;
}

void TestRandom() {
  std::mt19937 random(1);
  int num_done = 0;
  for (int i = 0; i < 2000; ++i) {
    const Fst fst = RandomFst(&random, 1 + i % 12);
    Fst smaller;
    try {
      smaller = RemoveEpsilonsLocally(fst);
    } catch (const InputError&) {  // a cycle of epsilons
      continue;
    }
    ++num_done;
    CHECK(smaller.start == fst.start);
    CHECK(smaller.finals.size() == fst.finals.size());
    CHECK(smaller.offsets.back() == static_cast<int64_t>(smaller.arcs.size()));
    CHECK(smaller.arcs.size() <= fst.arcs.size());
    for (const FstArc& arc : smaller.arcs) {
      CHECK(arc.next >= 0 && arc.next < static_cast<int32_t>(fst.finals.size()));
    }
  }
  CHECK(num_done > 1000);
  CHECK(RemoveEpsilonsLocally(Fst()).arcs.empty());
}

template <class Change>
void CheckRefused(Change change) {
  std::mt19937 random(2);
  Fst fst = RandomFst(&random, 5);
  change(&fst);
  try {
    RemoveEpsilonsLocally(fst);
  } catch (const InputError&) {
    return;
  }
  CHECK(!"refused");
}

}  // namespace

int main() {
  TestRandom();
  CheckRefused([](Fst* fst) { fst->arcs[0].next = 5; });
  CheckRefused([](Fst* fst) { fst->arcs[0].next = -1; });
  CheckRefused([](Fst* fst) { fst->arcs[0].ilabel = -2; });
  CheckRefused([](Fst* fst) { fst->offsets[1] = 1000; });
  CheckRefused([](Fst* fst) { fst->offsets.pop_back(); });
  CheckRefused([](Fst* fst) { fst->start = 5; });
  CheckRefused([](Fst* fst) { fst->arcs.back() = {0, 0, 0, 4}; });
  std::puts("test_graph: ok");
}
