/* A program: the calls that a function of Python made once, to be made again without Python.

Operators of torch are called through its dispatcher, C functions by their address. What was a tensor then is a value
now, by its place; all else is a constant. A program is right for arguments of the same key alone (key.h).
*/
#pragma once
#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace mb {

using Tensors = std::vector<at::Tensor>;

struct Kernel {  // a C function of 64-bit integers and pointers, with its doubles behind them
  void* address = nullptr;
  std::vector<int64_t> integers;
  std::vector<double> doubles;
  struct Scalar { int at, value; double factor; };
  std::vector<Scalar> scalars;                     // doubles that are the number in a value, times a factor
  std::vector<std::vector<char>> data;             // what constant pointers point to
  std::vector<std::pair<int, int>> places;         // (which integer, which datum)
  bool checked = false;                            // whether it returns 0 where it took what it read
};

struct Instruction {
  std::optional<c10::OperatorHandle> op;
  bool unseen_views = false;                              // see makes_views_of_samples
  Kernel kernel;
  std::vector<c10::IValue> constants;                     // of an operator
  std::vector<std::pair<int, int>> values;                // (which argument, which value)
  std::vector<std::pair<int, std::vector<int>>> lists;    // (which argument, which values)
  std::vector<int> results;                               // values, -1 for what is no tensor
  std::vector<std::pair<int, std::vector<int>>> listed;   // (which result, which values)
  std::vector<int> dead;                                  // values that no later instruction reads
};

struct Program {
  int inputs = 0, count = 0;                              // values; the first are the inputs
  std::vector<Instruction> instructions;
  std::vector<int> outputs;                               // values, -1 for none
};

template <size_t>
using Integer = int64_t;

template <size_t... at>
int64_t called(void* address, const int64_t* i, const double* d, std::index_sequence<at...>) {
  // integers and doubles travel in registers of their own, and at most eight doubles: in which order they stand among
  // each other does not matter on x86-64 and arm64
  using Function = int64_t (*)(Integer<at>..., double, double, double, double, double, double, double, double);
  return ((Function)address)(i[at]..., d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]);
}

inline double number_in(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat: return *tensor.const_data_ptr<float>();
    case at::kDouble: return *tensor.const_data_ptr<double>();
    default: return tensor.item<double>();
  }
}

inline int64_t call_kernel(const Kernel& kernel, const int64_t* i, const Tensors& values) {
  double d[8] = {};
  std::copy(kernel.doubles.begin(), kernel.doubles.end(), d);
  for (auto [at, value, factor] : kernel.scalars) d[at] = number_in(values[value]) * factor;
  switch (kernel.integers.size()) {
#define MB_CASE(n) case n: return called(kernel.address, i, d, std::make_index_sequence<n>());
    MB_CASE(1) MB_CASE(2) MB_CASE(3) MB_CASE(4) MB_CASE(5) MB_CASE(6) MB_CASE(7) MB_CASE(8) MB_CASE(9) MB_CASE(10)
    MB_CASE(11) MB_CASE(12) MB_CASE(13) MB_CASE(14) MB_CASE(15) MB_CASE(16) MB_CASE(17) MB_CASE(18) MB_CASE(19)
    MB_CASE(20) MB_CASE(21) MB_CASE(22) MB_CASE(23) MB_CASE(24)
#undef MB_CASE
  }
  TORCH_CHECK(false, "a kernel of so many arguments cannot be called: ", kernel.integers.size());
}

/* Whether an operator makes a view of each sample for itself: of those nobody needs a record, which costs more than the
work. Not said of all operators: linear, for one, then multiplies otherwise and rounds otherwise. */
inline bool makes_views_of_samples(const c10::OperatorName& name) {
  return name.name == "aten::im2col" || name.name == "aten::col2im";
}

/* Run it on its inputs. False where a kernel has refused what it read: then Python says why. */
inline bool run(const Program& program, Tensors&& inputs, Tensors& outputs) {
  Tensors values = std::move(inputs);
  values.resize(program.count);
  torch::jit::Stack stack;
  for (const auto& step : program.instructions) {
    if (step.op) {
      stack.assign(step.constants.begin(), step.constants.end());
      for (auto [at, value] : step.values) stack[at] = values[value];
      for (const auto& [at, places] : step.lists) {
        c10::List<at::Tensor> list;
        for (int value : places) list.push_back(values[value]);
        stack[at] = std::move(list);
      }
      if (step.unseen_views) {
        c10::impl::ExcludeDispatchKeyGuard unseen(c10::DispatchKeySet(c10::DispatchKey::ADInplaceOrView));
        step.op->callBoxed(stack);
      } else {
        step.op->callBoxed(stack);
      }
      for (size_t k = 0; k < step.results.size(); k++)
        if (step.results[k] >= 0) values[step.results[k]] = std::move(stack[k]).toTensor();
      for (const auto& [at, places] : step.listed) {
        auto list = stack[at].toTensorVector();
        for (size_t k = 0; k < places.size(); k++) values[places[k]] = std::move(list[k]);
      }
      stack.clear();
    } else {
      int64_t integers[24];
      std::copy(step.kernel.integers.begin(), step.kernel.integers.end(), integers);
      for (auto [at, value] : step.values) integers[at] = (int64_t)values[value].data_ptr();
      for (auto [at, datum] : step.kernel.places) integers[at] = (int64_t)step.kernel.data[datum].data();
      if (call_kernel(step.kernel, integers, values) != 0 && step.kernel.checked) return false;
    }
    for (int value : step.dead) values[value].reset();
  }
  outputs.clear();
  for (int value : program.outputs) outputs.push_back(value < 0 ? at::Tensor() : values[value]);
  return true;
}

}  // namespace mb
