// How long OpenMP's threads spin at a barrier before they sleep. GNU OpenMP's own 3 ms are harmless on an
// idle computer and ruin a busy one: with compilers on both cores, a training step reached 140 img/s with
// them and 350 to 400 with 0.1 ms; with the cores to itself, 850 either way (vretnet_pico_patch4_28_local,
// batch 128, 2 threads).
#include <sys/auxv.h>
#include <unistd.h>

#include <cstring>
#include <vector>

namespace {

bool sets(const char* entry, const char* name) {
  const std::size_t length = std::strlen(name);
  return std::strncmp(entry, name, length) == 0 && entry[length] == '=';
}

// The library reads its environment before main and before any constructor of this program; only
// .preinit_array runs earlier, and too early for setenv. So the program starts itself again with the number
// in its environment, unless the user's says something already.
void start_with_spin_count(int, char** arguments, char** environment) {
  if (getauxval(AT_BASE) == 0)
    return;  // started as an argument of the dynamic loader, which is then the program
  std::vector<char*> entries;
  for (char** entry = environment; *entry; ++entry) {
    if (sets(*entry, "GOMP_SPINCOUNT") || sets(*entry, "OMP_WAIT_POLICY")) return;
    entries.push_back(*entry);
  }
  char spin_count[] = "GOMP_SPINCOUNT=10000";
  entries.push_back(spin_count);
  entries.push_back(nullptr);
  char program[4096];  // its path, so that it keeps its name among the processes
  const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length < 0) return;
  program[length] = '\0';
  execve(program, arguments, entries.data());
  // Where that cannot be done, the library's own number holds.
}

[[gnu::section(".preinit_array"), gnu::used]] void (*const before_openmp)(int, char**,
                                                                          char**) = start_with_spin_count;

}  // namespace
