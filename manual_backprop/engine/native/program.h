/* A program: the calls that a Python function made while it was recorded, repeated without Python.

torch's operators are called through the dispatcher, C functions by their address. Each tensor of the recording is a
value, which instructions name by its index. Everything else is a constant. So a program is right only for arguments
with the same key (key.h).
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

struct Kernel {  // a C function: its arguments are 64-bit integers and pointers, then doubles
  void* address = nullptr;
  std::vector<int64_t> integers;
  std::vector<double> doubles;
  struct Scalar { int at, value; double factor; };
  std::vector<Scalar> scalars;                     // doubles that are the single element of a value, times a factor
  std::vector<std::vector<char>> data;             // constant arrays, which arguments point to
  std::vector<std::pair<int, int>> places;         // (index of the integer argument, index in data)
  bool checked = false;                            // whether it returns 0 if it accepts the values that it reads
};

struct Instruction {
  std::optional<c10::OperatorHandle> op;
  bool unseen_views = false;                              // see makes_views_of_samples
  Kernel kernel;
  std::vector<c10::IValue> constants;                     // an operator's arguments, empty where a value goes
  std::vector<std::pair<int, int>> values;                // (index of the argument, value)
  std::vector<std::pair<int, std::vector<int>>> lists;    // (index of the argument, values)
  std::vector<std::pair<int, std::vector<int>>> indices;  // the same for a list of indices; -1 for none along an axis
  std::vector<int> results;                               // values; -1 for a result that is not a tensor
  std::vector<std::pair<int, std::vector<int>>> listed;   // (index of the result, values)
  std::vector<int> dead;                                  // values that no later instruction reads
};

struct Program {
  int inputs = 0, count = 0;                              // number of inputs and of values; the inputs come first
  std::vector<Instruction> instructions;
  std::vector<int> outputs;                               // values, -1 for none
};

template <size_t>
using Integer = int64_t;

template <size_t... at>
int64_t called(void* address, const int64_t* i, const double* d, std::index_sequence<at...>) {
  // on x86-64 and arm64 integers and up to eight doubles are passed in separate registers, so the order of the two
  // kinds among each other does not matter
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
  TORCH_CHECK(false, "a kernel has too many arguments. got: ", kernel.integers.size(), ". expected: at most 24");
}

/* Whether an operator makes a view of each sample internally. Then the tracking of views is turned off, which costs
more than the operator's work. Not for all operators: without it linear, for one, takes another matmul, which rounds
differently. */
inline bool makes_views_of_samples(const c10::OperatorName& name) {
  return name.name == "aten::im2col" || name.name == "aten::col2im";
}

/* Run the program on its inputs. False if a kernel refused a value that it read; Python then raises the error. */
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
      for (const auto& [at, places] : step.indices) {
        c10::List<std::optional<at::Tensor>> list;
        for (int value : places) list.push_back(value < 0 ? std::nullopt : std::optional(values[value]));
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
