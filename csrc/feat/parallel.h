// Runs a function over [0, size) on a few threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

namespace kdspeech {

// Calls work(begin, end) for neighbouring parts of [0, size) on `num_threads` threads, the calling
// one among them: a few parts for each thread, taken by whichever is free, for a thread may start
// late or lose its core to another process. With one thread it is one part. The first exception of
// any thread is thrown again here, when all have ended.
template <class Work>
void ParallelFor(int64_t size, int64_t num_threads, const Work& work) {
  constexpr int64_t kPartsPerThread = 8;
  const int64_t num = std::max<int64_t>(1, std::min(size, num_threads));
  const int64_t parts = num == 1 ? 1 : std::min(size, kPartsPerThread * num);
  std::atomic<int64_t> next{0};
  std::vector<std::exception_ptr> errors(num);
  const auto run = [&](int64_t thread) {
    try {
      for (int64_t part = next++; part < parts; part = next++) {
        work(size * part / parts, size * (part + 1) / parts);
      }
    } catch (...) {
      errors[thread] = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  threads.reserve(num - 1);
  try {
    for (int64_t thread = 1; thread < num; ++thread) threads.emplace_back(run, thread);
  } catch (const std::system_error&) {  // no more threads to be had: those there are do it all
  }
  run(0);
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace kdspeech
