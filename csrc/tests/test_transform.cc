// Gaussian statistics and the updates from them over random sizes, against their definitions.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "feat/error.h"
#include "feat/kernel.h"
#include "transform/gaussians.h"
#include "transform/stats.h"
#include "transform/update.h"

namespace {

using kdspeech::AlignedFrames;
using kdspeech::Gaussians;

#define CHECK(condition)                                                       \
  do {                                                                         \
    if (!(condition)) {                                                        \
      std::fprintf(stderr, "%s:%d: not %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                            \
    }                                                                          \
  } while (false)

std::mt19937 rng(1);

int Random(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng); }

float Uniform(float low, float high) {
  return std::uniform_real_distribution<float>(low, high)(rng);
}

std::vector<float> Values(size_t size, float low, float high) {
  std::vector<float> values(size);
  for (float& value : values) value = Uniform(low, high);
  return values;
}

bool Near(double a, double b, double tolerance) {
  return std::fabs(a - b) <= tolerance * (1.0 + std::fabs(b));
}

template <class Work>
void CheckThrows(const char* part, const Work& work) {
  try {
    work();
  } catch (const kdspeech::InputError& e) {
    CHECK(std::string(e.what()).find(part) != std::string::npos);
    return;
  }
  CHECK(!part);
}

// A model and aligned frames of random sizes.
struct Task {
  explicit Task(int num_pdfs)
      : dim(Random(1, 45)), num_frames(Random(1, 150)), pdfs(num_pdfs), offsets(1, 0) {
    for (int p = 0; p < num_pdfs; p++) offsets.push_back(offsets.back() + Random(1, 20));
    const int count = offsets.back();
    gconsts = Values(count, -3.0f, 0.0f);
    means_invvars = Values(static_cast<size_t>(count) * dim, -1.0f, 1.0f);
    inv_vars = Values(means_invvars.size(), 0.5f, 2.0f);
    features = Values(static_cast<size_t>(num_frames) * dim, -2.0f, 2.0f);
    for (int i = Random(0, 2 * num_frames); i > 0; i--) {
      entry_frames.push_back(Random(0, num_frames - 1));
      entry_pdfs.push_back(Random(0, num_pdfs - 1));
      weights.push_back(Random(0, 3) == 0 ? 0.0f : Uniform(0.1f, 1.0f));
    }
  }

  Gaussians Model() const {
    return {gconsts.data(), means_invvars.data(), inv_vars.data(), offsets.data(), pdfs, dim};
  }

  AlignedFrames Alignment() const {
    return {entry_frames.data(), entry_pdfs.data(), weights.data(),
            static_cast<int64_t>(weights.size())};
  }

  double Component(int g, int64_t frame) const {
    double sum = gconsts[g];
    for (int d = 0; d < dim; d++) {
      const double x = features[frame * dim + d];
      sum += x * means_invvars[g * dim + d] - 0.5 * x * x * inv_vars[g * dim + d];
    }
    return sum;
  }

  double LogLikelihood(int pdf, int64_t frame) const {
    double sum = 0.0;
    for (int g = offsets[pdf]; g < offsets[pdf + 1]; g++) sum += std::exp(Component(g, frame));
    return std::log(sum);
  }

  // Calls use(entry's frame, Gaussian, weighted posterior).
  template <class Use>
  void ForEachPosterior(const Use& use) const {
    for (size_t i = 0; i < weights.size(); i++) {
      const int64_t frame = entry_frames[i];
      const int pdf = entry_pdfs[i];
      const double total = LogLikelihood(pdf, frame);
      for (int g = offsets[pdf]; g < offsets[pdf + 1]; g++) {
        use(frame, g, weights[i] * std::exp(Component(g, frame) - total));
      }
    }
  }

  const int dim, num_frames, pdfs;
  std::vector<int32_t> offsets, entry_frames, entry_pdfs;
  std::vector<float> gconsts, means_invvars, inv_vars, features, weights;
};

void TestLogLikelihoods(const Task& task) {
  std::vector<int32_t> wanted;
  for (int i = Random(0, 6); i > 0; i--) wanted.push_back(Random(0, task.pdfs - 1));
  const int num = static_cast<int>(wanted.size());
  std::vector<float> all(static_cast<size_t>(task.num_frames) * task.pdfs),
      some(task.num_frames * num);
  kdspeech::LogLikelihoods(task.Model(), task.features.data(), task.num_frames, Random(1, 3),
                           all.data());
  kdspeech::LogLikelihoods(task.Model(), wanted.data(), num, task.features.data(), task.num_frames,
                           1, some.data());
  for (int t = 0; t < task.num_frames; t++) {
    for (int p = 0; p < task.pdfs; p++) {
      CHECK(Near(all[t * task.pdfs + p], task.LogLikelihood(p, t), 1e-5));
    }
    for (int i = 0; i < num; i++) {
      CHECK(Near(some[t * num + i], all[t * task.pdfs + wanted[i]], 1e-6));
    }
  }
}

void TestMle(const Task& task) {
  const int count = task.offsets.back(), dim = Random(1, 20);
  const std::vector<float> summed = Values(static_cast<size_t>(task.num_frames) * dim, -2, 2);
  std::vector<double> occupancy(count), x(count * dim), x2(count * dim);
  std::vector<double> occupancy_wanted(count), x_wanted(count * dim), x2_wanted(count * dim);
  kdspeech::AccumulateMle(task.Model(), task.features.data(), task.Alignment(), task.num_frames,
                          summed.data(), dim, Random(1, 3),
                          {occupancy.data(), x.data(), x2.data()});
  task.ForEachPosterior([&](int64_t frame, int g, double posterior) {
    occupancy_wanted[g] += posterior;
    for (int d = 0; d < dim; d++) {
      const double value = summed[frame * dim + d];
      x_wanted[g * dim + d] += posterior * value;
      x2_wanted[g * dim + d] += posterior * value * value;
    }
  });
  for (int g = 0; g < count; g++) CHECK(Near(occupancy[g], occupancy_wanted[g], 1e-4));
  for (int i = 0; i < count * dim; i++) {
    CHECK(Near(x[i], x_wanted[i], 1e-4));
    CHECK(Near(x2[i], x2_wanted[i], 1e-4));
  }
}

void TestFmllr(const Task& task) {
  const int dim = task.dim, n = dim + 1, triangle = n * (n + 1) / 2;
  std::vector<double> k(dim * n), g(dim * triangle), k_wanted(dim * n), g_wanted(dim * triangle);
  kdspeech::AccumulateFmllr(task.Model(), task.Model(), task.features.data(), task.Alignment(),
                            task.num_frames, Random(1, 3), {k.data(), g.data()});
  task.ForEachPosterior([&](int64_t frame, int gaussian, double posterior) {
    const auto x = [&](int d) { return d < dim ? task.features[frame * dim + d] : 1.0f; };
    for (int i = 0; i < dim; i++) {
      const double mean = posterior * task.means_invvars[gaussian * dim + i];
      const double inv_var = posterior * task.inv_vars[gaussian * dim + i];
      double* to = &g_wanted[i * triangle];
      for (int r = 0; r < n; r++) {
        k_wanted[i * n + r] += mean * x(r);
        for (int c = 0; c <= r; c++) *to++ += inv_var * x(r) * x(c);
      }
    }
  });
  for (size_t i = 0; i < k.size(); i++) CHECK(Near(k[i], k_wanted[i], 1e-4));
  for (size_t i = 0; i < g.size(); i++) CHECK(Near(g[i], g_wanted[i], 1e-4));
}

void TestMllt(const Task& task) {
  const int dim = task.dim, triangle = dim * (dim + 1) / 2, count = task.offsets.back();
  const std::vector<float> centers = Values(static_cast<size_t>(task.pdfs) * dim, -1, 1);
  std::vector<double> occupancy(count), y(count * dim), g(dim * triangle), y_wanted(count * dim),
      g_wanted(dim * triangle);
  kdspeech::AccumulateMllt(task.Model(), centers.data(), task.features.data(), task.Alignment(),
                           task.num_frames, Random(1, 3), {occupancy.data(), y.data(), g.data()});
  task.ForEachPosterior([&](int64_t frame, int gaussian, double posterior) {
    const int pdf =
        static_cast<int>(std::upper_bound(task.offsets.begin(), task.offsets.end(), gaussian) -
                         task.offsets.begin()) -
        1;
    const auto value = [&](int d) {
      return static_cast<double>(task.features[frame * dim + d]) - centers[pdf * dim + d];
    };
    for (int i = 0; i < dim; i++) {
      y_wanted[gaussian * dim + i] += posterior * value(i);
      const double inv_var = posterior * task.inv_vars[gaussian * dim + i];
      double* to = &g_wanted[i * triangle];
      for (int r = 0; r < dim; r++) {
        for (int c = 0; c <= r; c++) *to++ += inv_var * value(r) * value(c);
      }
    }
  });
  for (size_t i = 0; i < y.size(); i++) CHECK(Near(y[i], y_wanted[i], 1e-4));
  for (size_t i = 0; i < g.size(); i++) CHECK(Near(g[i], g_wanted[i], 1e-4));
}

// Lower triangles of `count` random positive definite matrices.
std::vector<double> PositiveDefinite(int count, int n) {
  std::vector<double> packed;
  for (int i = 0; i < count; i++) {
    const std::vector<float> rows = Values(static_cast<size_t>(3 * n) * n, -1, 1);
    for (int r = 0; r < n; r++) {
      for (int c = 0; c <= r; c++) {
        double sum = 0.0;
        for (int j = 0; j < 3 * n; j++)
          sum += static_cast<double>(rows[j * n + r]) * rows[j * n + c];
        packed.push_back(sum);
      }
    }
  }
  return packed;
}

void TestUpdates(int dim) {
  const int n = dim + 1;
  std::vector<double> transform(dim * n), k;
  for (int i = 0; i < dim; i++) transform[i * n + i] = 1.0;
  for (const float value : Values(dim * n, -1, 1)) k.push_back(value);
  CHECK(kdspeech::UpdateFmllr(k.data(), PositiveDefinite(dim, n).data(), 10.0, dim, 5,
                              transform.data()));
  for (const double value : transform) CHECK(std::isfinite(value));

  const std::vector<double> g = PositiveDefinite(dim, dim);
  std::vector<double> square(dim * dim), objective(21);
  for (int i = 0; i < dim; i++) square[i * dim + i] = 1.0;
  CHECK(kdspeech::UpdateMllt(g.data(), 10.0, dim, 20, square.data(), objective.data()));
  for (int i = 0; i < 20; i++) CHECK(objective[i + 1] >= objective[i] - 1e-9);

  const std::vector<double> zero(g.size()), before = square;
  CHECK(!kdspeech::UpdateMllt(zero.data(), 10.0, dim, 1, square.data(), objective.data()));
  CHECK(square == before);
}

void TestBadInput() {
  Task task(3);
  const int32_t rising[] = {0, 2, 1, 5}, short_end[] = {0, 1, 2, 4};
  CheckThrows("offsets", [&] { kdspeech::CheckOffsets(rising, 3, 5); });
  CheckThrows("offsets", [&] { kdspeech::CheckOffsets(short_end, 3, 5); });
  float out[1];
  const int32_t wanted[] = {3};
  CheckThrows("no pdf 3", [&] {
    kdspeech::LogLikelihoods(task.Model(), wanted, 1, task.features.data(), 1, 1, out);
  });
  for (const int32_t frame : {-1, 1}) {
    const int32_t pdf = 0;
    const float weight = 1.0f;
    CheckThrows("frame", [&] { kdspeech::ByPdf({&frame, &pdf, &weight, 1}, 1, 1); });
    CheckThrows("pdf", [&] { kdspeech::ByPdf({&pdf, &frame, &weight, 1}, 1, 1); });
  }
}

void TestVariant() {
  for (int i = 0; i < 8; i++) {
    const Task task(i % 4 == 0 ? 1 : Random(1, 40));
    TestLogLikelihoods(task);
    TestMle(task);
    TestFmllr(task);
    TestMllt(task);
  }
}

}  // namespace

int main() {
  for (const kdspeech::Kernel* const* k = kdspeech::AvailableKernels(); *k != nullptr; k++) {
    setenv("KDSPEECH_SIMD", (*k)->name, 1);
    TestVariant();
  }
  for (int dim : {1, 2, 7, 40}) TestUpdates(dim);
  TestBadInput();
  std::printf("ok\n");
  return 0;
}
