// Runs a function over [0, size) on a few threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

namespace kdspeech {

// Calls work(begin, end) on `num_threads` neighbouring parts of [0, size), the first on the calling
// thread. The first exception of any part is thrown again here, when all parts have ended.
template <class Work>
void ParallelFor(int64_t size, int64_t num_threads, const Work& work) {
  const int64_t parts = std::max<int64_t>(1, std::min(size, num_threads));
  std::vector<std::exception_ptr> errors(parts);
  const auto run = [&](int64_t part) {
    try {
      work(size * part / parts, size * (part + 1) / parts);
    } catch (...) {
      errors[part] = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  threads.reserve(parts - 1);
  for (int64_t part = 1; part < parts; ++part) {
    try {
      threads.emplace_back(run, part);
    } catch (const std::system_error&) {  // no more threads to be had
      run(part);
    }
  }
  run(0);
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace kdspeech
