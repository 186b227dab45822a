#include "feat/window.h"

#include <cmath>

#include "feat/error.h"
#include "feat/framing.h"
#include "feat/math.h"

namespace kdspeech {
namespace {

enum class WindowType { kHamming, kHanning, kPovey, kRectangular, kBlackman, kSine };

WindowType ParseWindowType(const std::string& name) {
  if (name == "hamming") return WindowType::kHamming;
  if (name == "hanning") return WindowType::kHanning;
  if (name == "povey") return WindowType::kPovey;
  if (name == "rectangular") return WindowType::kRectangular;
  if (name == "blackman") return WindowType::kBlackman;
  if (name == "sine") return WindowType::kSine;
  throw InputError("window_type = " + name +
                   ": must be one of hamming, hanning, povey, rectangular, blackman, sine");
}

double WindowValue(WindowType type, double angle, double blackman_coeff) {
  switch (type) {
    case WindowType::kHamming:
      return 0.54 - 0.46 * std::cos(angle);
    case WindowType::kHanning:
      return 0.5 - 0.5 * std::cos(angle);
    case WindowType::kPovey:  // like hamming, but goes to zero at the edges
      return std::pow(0.5 - 0.5 * std::cos(angle), 0.85);
    case WindowType::kBlackman:
      return blackman_coeff - 0.5 * std::cos(angle) + (0.5 - blackman_coeff) * std::cos(2 * angle);
    case WindowType::kSine:
      return std::sin(0.5 * angle);
    case WindowType::kRectangular:
      break;
  }
  return 1.0;
}

}  // namespace

std::vector<float> MakeWindow(const FrameOptions& frame) {
  const WindowType type = ParseWindowType(frame.window_type);
  const int size = WindowSize(frame);
  std::vector<float> window(size);
  const double step = 2 * kPi / (size - 1);
  for (int i = 0; i < size; i++) {
    window[i] = static_cast<float>(WindowValue(type, step * i, frame.blackman_coeff));
  }
  return window;
}

}  // namespace kdspeech
