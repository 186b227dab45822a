#include "feat/fft.h"

#include <algorithm>
#include <cmath>

#include "feat/math.h"

namespace kdspeech {
namespace {

std::vector<int> Factors(int size) {
  std::vector<int> factors;
  for (int radix : {4, 2}) {
    for (; size % radix == 0; size /= radix) factors.push_back(radix);
  }
  for (int radix = 3; size > 1; radix += 2) {
    if (radix * radix > size) radix = size;  // what is left is prime
    for (; size % radix == 0; size /= radix) factors.push_back(radix);
  }
  return factors;
}

// Appends cos and sin of -2 pi numerator / denominator.
void AppendRoot(long long numerator, int denominator, std::vector<float>* out) {
  const double angle = -2 * kPi * static_cast<double>(numerator % denominator) / denominator;
  out->push_back(static_cast<float>(std::cos(angle)));
  out->push_back(static_cast<float>(std::sin(angle)));
}

FftStage MakeStage(int radix, int length, FftPlan* plan) {
  FftStage stage{radix, length, static_cast<int>(plan->twiddles.size()),
                 static_cast<int>(plan->roots.size())};
  for (long long j = 0; j < length / radix; j++) {
    for (int q = 1; q < radix; q++) AppendRoot(j * q, length, &plan->twiddles);
  }
  if (radix % 2 == 1) {
    for (int p = 0; p < radix; p++) AppendRoot(p, radix, &plan->roots);
    plan->max_odd_radix = std::max(plan->max_odd_radix, radix);
  }
  return stage;
}

// Each stage sends the frequencies that are q modulo its radix to its q-th block.
int Position(const std::vector<FftStage>& stages, int frequency) {
  int position = 0;
  for (const FftStage& stage : stages) {
    position += frequency % stage.radix * (stage.length / stage.radix);
    frequency /= stage.radix;
  }
  return position;
}

void MakeMixedRadix(FftPlan* plan) {
  int length = plan->num_complex;
  for (int radix : Factors(length)) {
    plan->stages.push_back(MakeStage(radix, length, plan));
    length /= radix;
  }
  for (int k = 0; k < plan->num_complex; k++) {
    plan->position.push_back(Position(plan->stages, k));
  }
}

// Appends (c, -(c + s), s - c) for an angle that is rounded to float, as in Kaldi.
void AppendRotation(double exact_angle, std::vector<float>* out) {
  const float angle = static_cast<float>(exact_angle);
  const float c = std::cos(angle), s = std::sin(angle);
  out->push_back(c);
  out->push_back(-(s + c));
  out->push_back(s - c);
}

void MakeSplitRadix(FftPlan* plan) {
  for (int level = 0; level <= plan->log2_size; level++) {
    plan->split_offset.push_back(static_cast<int>(plan->split_twiddles.size()));
    const int length = 1 << level;
    for (int n = 1; n < length / 4; n++) {
      AppendRotation(2 * kPi * n / length, &plan->split_twiddles);
      AppendRotation(2 * kPi * 3 * n / length, &plan->split_twiddles);
    }
  }
  for (int k = 0; k < plan->num_complex; k++) {
    int reversed = 0;
    for (int bit = 0; bit < plan->log2_size; bit++) reversed = 2 * reversed + (k >> bit & 1);
    plan->position.push_back(reversed);
  }
}

// Appends the powers k = 0 .. num_samples / 4 of exp(-2 pi i / num_samples) by repeated
// multiplication in float, which is less exact than cos and sin of each, but Kaldi's.
void AppendPowers(int num_samples, std::vector<float>* out) {
  const float angle = static_cast<float>(-2 * kPi / num_samples);
  const float root_re = std::cos(angle), root_im = std::sin(angle);
  float re = 1.0f, im = 0.0f;
  for (int k = 0; 4 * k <= num_samples; k++) {
    out->push_back(re);
    out->push_back(im);
    const float next_re = re * root_re - im * root_im;
    im = re * root_im + im * root_re;
    re = next_re;
  }
}

}  // namespace

FftPlan MakeFftPlan(int num_samples) {
  FftPlan plan;
  plan.num_complex = num_samples / 2;
  if ((plan.num_complex & (plan.num_complex - 1)) == 0) {
    plan.log2_size = 0;
    while (1 << plan.log2_size < plan.num_complex) plan.log2_size++;
    MakeSplitRadix(&plan);
  } else {
    MakeMixedRadix(&plan);
  }
  AppendPowers(num_samples, &plan.real_twiddles);
  return plan;
}

}  // namespace kdspeech
