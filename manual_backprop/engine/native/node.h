/* The autograd node behind a call that ran as a program: what it saves, and its backward. */
#pragma once
#include "recompute.h"

namespace mb {

struct RuleNode : Node {
  Entry* entry = nullptr;
  std::shared_ptr<Kept> kept;  // until the backward has run; read it through `held`, other threads may run the backward

  std::string name() const override { return entry->name; }

  void release_variables() override {
    std::shared_ptr<Kept> freed;  // declared first, so that it is freed after the lock is released
    std::lock_guard<std::mutex> guard(mutex_);
    freed.swap(kept);
  }

  std::shared_ptr<Kept> held() {
    std::lock_guard<std::mutex> guard(mutex_);
    return kept;
  }

  Tensors unpacked() {
    const auto alive = held();
    if (!alive && entry->saves_nothing) return Tensors(entry->saved.size());  // like a torch node that saves no tensor
    if (!alive) throw std::runtime_error(torch::autograd::ERR_BACKWARD_TWICE);
    const auto task = torch::autograd::get_current_graph_task_id();
    Tensors tensors;
    tensors.reserve(alive->saved.size());
    for (size_t k = 0; k < alive->saved.size(); k++) {
      auto* ask = alive->asks.empty() ? nullptr : alive->asks[k].get();
      if (ask) ask->check();
      tensors.push_back(ask ? ask->tensor(task) : alive->own == (int)k ? at::Tensor() : alive->saved[k].unpack(getptr()));
    }
    if (alive->own >= 0) {
      check_version(alive->counter, alive->version, getptr(), alive->output_nr);
      tensors[alive->own] = output_of(alive, getptr(), task);
    }
    return tensors;
  }

  variable_list apply(variable_list&& deltas) override {
    bool any = false;
    for (const auto& delta : deltas) any |= delta.defined();
    if (!any) return variable_list(num_outputs());
    for (size_t k = 0; entry->materialize && k < deltas.size(); k++)
      if (!deltas[k].defined()) deltas[k] = input_metadata(k).zeros_like();
    const WithoutAutocast dtypes_of_the_forward;
    auto tensors = unpacked();
    if (at::GradMode::is_enabled() || special() || !plain(deltas) || !plain(tensors))
      return in_python(deltas, tensors, nullptr);
    Key key;
    for (const auto& delta : deltas) key.add(delta);
    for (const auto& tensor : tensors) key.add(tensor);
    for (size_t k = 0; k < num_outputs(); k++)
      if (left_out(k)) key.add(k);
    key.seal();
    auto* known = found(entry, entry->backwards, key);
    if (!known || known->state == GIVEN_UP || version_of(entry->rule) != entry->version)
      return in_python(deltas, tensors, nullptr);
    if (known->state == NEW) return in_python(deltas, tensors, ++known->seen > calls_in_python ? known : nullptr);
    Tensors inputs(deltas.begin(), deltas.end()), outputs;
    inputs.insert(inputs.end(), tensors.begin(), tensors.end());
    at::AutoDispatchBelowAutograd guard;
    c10::AutoGradMode no_grad(false);  // some operators ask for the grad mode and take another path
    if (!run(known->program, std::move(inputs), outputs)) return in_python(deltas, tensors, nullptr);
    return outputs;
  }

  /* Whether an argument's delta is not needed in this backward pass: for example the weight's, where only the input's
  gradient was requested. */
  bool left_out(size_t argument) const { return next_edge(argument).is_valid() && !task_should_compute_output(argument); }

  /* For each argument of the rule, whether its delta is needed. A new reference. */
  PyObject* needs() const {
    THPObjectPtr needs(PyTuple_New(PyTuple_GET_SIZE(entry->needs)));
    if (!needs) throw python_error();
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(entry->needs); k++)
      PyTuple_SET_ITEM(needs.get(), k, Py_NewRef(PyTuple_GET_ITEM(entry->needs, k)));
    for (size_t k = 0; k < num_outputs(); k++)
      if (left_out(k)) PyTuple_SetItem(needs.get(), entry->tensors[k], Py_NewRef(Py_False));
    return needs.release();
  }

  variable_list in_python(const variable_list& deltas, const Tensors& tensors, Recorded* learning) {
    pybind11::gil_scoped_acquire gil;
    Recorder recorder;
    if (learning) {
      Tensors inputs(deltas.begin(), deltas.end());
      inputs.insert(inputs.end(), tensors.begin(), tensors.end());
      recorder.begin(inputs);
    }
    Tensors all(entry->outputs);
    for (int k = 0, given = 0; k < entry->outputs; k++)
      if (entry->differentiable[k]) all[k] = deltas[given++];
    THPObjectPtr found(PyObject_CallFunction(
        derive, "OONNNN", entry->rule, entry->attributes, needs(), listed(tensors), listed(all),
        torch::autograd::functionToPyObject(getptr())));
    if (!found) throw python_error();
    variable_list gradients;
    for (int at : entry->tensors) {
      auto* part = PyTuple_Check(found.get()) ? PyTuple_GET_ITEM(found.get(), at) : found.get();
      gradients.push_back(unwrapped(part));
    }
    if (learning) keep(entry, learning, recorder, gradients);
    return gradients;
  }
};

PyTypeObject node_type = {};

/* The node that computed `tensor`, or the tensor that it is a view of, which is returned in `output`. Null where a
view's gradient does not go to the node of its base. */
NodePointer source_of(const at::Tensor& tensor, at::Tensor& output) {
  auto node = tensor.grad_fn();
  output = tensor;
  if (!node || !tensor.is_view()) return node;
  output = tensor._base();
  auto wanted = output.grad_fn();
  for (int k = 0; k < DEPTH && node && node != wanted; k++)  // a view made under no_grad has another graph
    node = node->num_outputs() == 1 ? node->next_edge(0).function : nullptr;
  return node == wanted ? node : nullptr;
}

/* An Ask for a tensor, or a view of one, whose node can recompute it; null for any other tensor. */
std::unique_ptr<Ask> ask_for(const at::Tensor& tensor, Kept* reader) {
  at::Tensor output;
  auto node = source_of(tensor, output);
  auto* rule = dynamic_cast<RuleNode*>(node.get());
  auto held = rule ? rule->held() : nullptr;
  if (!held || !held->recipe) return nullptr;
  auto& kept = *held;
  if (kept.depth >= DEPTH || kept.output_nr != output.output_nr() || !kept.describes(output)) return nullptr;
  auto ask = std::make_unique<Ask>();
  const auto* inner = kept.recomputed && kept.entry->recipe->passes_on ? kept.operands[0].ask.get() : nullptr;
  if (inner && !inner->view && !tensor.is_view()) {
    held = inner->kept;
    node = inner->node;
  }
  ask->kept = held;
  ask->node = node;
  ask->reader = reader;
  if (tensor.is_view())
    ask->view = View{output.strides().vec(), tensor.sizes().vec(), tensor.strides().vec(),
                     tensor.storage_offset() - output.storage_offset()};
  std::lock_guard<std::mutex> guard(bookkeeping());
  ask->kept->readers.push_back(ask.get());
  return ask;
}

/* Whether a Python node can recompute the tensor. Then the call is left to Python, which can ask that node. */
bool asks_python(const at::Tensor& tensor) {
  at::Tensor output;
  auto node = source_of(tensor, output);
  if (!node || dynamic_cast<RuleNode*>(node.get())) return false;
  THPObjectPtr object(torch::autograd::functionToPyObject(node));
  THPObjectPtr recipe(PyObject_GetAttrString(object.get(), "recipe"));
  if (!recipe) PyErr_Clear();
  return recipe && recipe.get() != Py_None;
}

/* Whether it is a parameter or a view of one. */
bool is_parameter(const at::Tensor& tensor) {
  const at::Tensor base = tensor.is_view() ? at::Tensor(tensor._base()) : tensor;
  THPObjectPtr object(wrapped(base));
  return PyType_IsSubtype(Py_TYPE(object.get()), (PyTypeObject*)parameter);
}

/* Whether it is a parameter, another leaf that requires a gradient, or a view of one. */
bool is_trained(const at::Tensor& tensor) {
  const at::Tensor base = tensor.is_view() ? at::Tensor(tensor._base()) : tensor;
  return (base.is_leaf() && base.requires_grad()) || is_parameter(base);
}

/* Fills the operands of a recipe. False if one of its tensors will not be available in the backward. */
bool gathered(const Entry* entry, const Recipe& recipe, Kept& kept, const Tensors& arguments, const Tensors& outputs,
              std::unique_ptr<Ask>&& before) {
  const auto& output = outputs[recipe.output];
  for (const auto& argument : recipe.tensors) {
    const auto& tensor = entry->at(argument.place, argument.saved, arguments, outputs);
    kept.operands.emplace_back();
    auto& operand = kept.operands.back();
    if (tensor.is_same(output)) {
      if (!before) return false;
      std::lock_guard<std::mutex> guard(bookkeeping());
      operand.ask = std::move(before);
      operand.ask->reader = &kept;
    } else if (tensor.numel() * SMALL <= output.numel() && (argument.saved < 0 || is_trained(tensor))) {
      // a copy: an optimizer may change the parameter before the backward
      c10::AutoGradMode no_grad(false);
      operand.copy = tensor.clone();
    } else if (argument.saved < 0) {
      operand.ask = ask_for(tensor, &kept);
      if (!operand.ask) return false;
    } else if (tensor.numel() * SMALL > output.numel() && is_parameter(tensor)) {
      return false;  // too large to copy, and an edit through `.data` would not change its version
    } else {
      operand.saved = argument.saved;
      if (auto* ask = kept.asks.empty() ? nullptr : kept.asks[argument.saved].get())
        kept.depth = std::max(kept.depth, ask->kept->depth);
    }
    if (operand.ask) kept.depth = std::max(kept.depth, operand.ask->kept->depth);
  }
  return true;
}

void remember(Kept& kept, const at::Tensor& output, int output_nr) {
  kept.recipe = true;
  kept.output_nr = output_nr;
  kept.version = output.unsafeGetTensorImpl()->version_counter().current_version();
  kept.address = output.const_data_ptr();
  kept.output.emplace(output.getIntrusivePtr());
}

/* The output's number in autograd's engine, which counts only outputs with a derivative. */
int output_nr(const Entry* entry, int output) {
  return std::count(entry->differentiable.begin(), entry->differentiable.begin() + output, true);
}

/* Replace large saved tensors by an Ask where their node can recompute them, and give this node a recipe. */
void pack_saved(Entry* entry, Kept& kept, const Tensors& arguments, const Tensors& outputs, std::unique_ptr<Ask> before) {
  const auto* recipe = entry->recipe.get();
  if (recipe && outputs[recipe->output].numel() < large) recipe = nullptr;
  kept.asks.resize(entry->saved.size());
  int own = -1;
  for (size_t k = 0; k < entry->saved.size(); k++) {
    const auto& tensor = entry->kept_at(k, arguments, outputs);
    if (!tensor.defined() || tensor.numel() < large) continue;
    if (recipe && entry->saved[k] == Place{-1, recipe->output}) {
      own = k;
      continue;
    }
    auto ask = ask_for(tensor, nullptr);
    if (!ask || !ask->kept->recomputed) continue;  // not recomputed: that node saves the same memory anyway
    ask->counter = torch::autograd::impl::version_counter(tensor);
    ask->version = ask->counter.current_version();
    kept.asks[k] = std::move(ask);
  }
  if (recipe && gathered(entry, *recipe, kept, arguments, outputs, std::move(before))) {
    kept.recomputed = true;
    kept.own = own;
    kept.depth++;
    kept.counter = torch::autograd::impl::version_counter(outputs[recipe->output]);
    remember(kept, outputs[recipe->output], output_nr(entry, recipe->output));
    return;
  }
  kept.operands.clear();
  kept.depth = 0;
  for (int k = 0; k < entry->outputs; k++)
    for (size_t at = 0; at < entry->saved.size(); at++)
      if (!kept.recipe && entry->saved[at] == Place{-1, k} && outputs[k].defined() && outputs[k].numel() >= large) {
        kept.operands.emplace_back().saved = at;
        remember(kept, outputs[k], output_nr(entry, k));
      }
}

/* Put a node behind the outputs that have a derivative. before: the Ask for the tensor that was written over. */
void attach(Entry* entry, const Tensors& arguments, Tensors& outputs, std::unique_ptr<Ask> before = nullptr) {
  auto node = make_node<RuleNode>();
  node->entry = entry;
  node->kept = std::make_shared<Kept>();
  auto& kept = *node->kept;
  kept.entry = entry;
  torch::autograd::edge_list edges;
  edges.reserve(arguments.size());
  for (const auto& argument : arguments)
    edges.push_back(argument.requires_grad() ? torch::autograd::impl::gradient_edge(argument) : torch::autograd::Edge());
  node->set_next_edges(std::move(edges));
  if (saving == RECOMPUTED && entry->largest >= large) pack_saved(entry, kept, arguments, outputs, std::move(before));
  for (int k = 0; k < entry->outputs; k++) {
    if (!entry->differentiable[k]) continue;
    if (entry->in_place && k == 0) torch::autograd::impl::rebase_history(outputs[k], {node, node->add_input_metadata(outputs[k])});
    else torch::autograd::set_history(outputs[k], node);
  }
  kept.saved.reserve(entry->saved.size());
  at::Tensor own;
  if (entry->inner) {
    Tensors given, outputs_of_inner{outputs[1].detach()};
    for (int argument : entry->inner_arguments) given.push_back(arguments[argument]);
    attach(entry->inner.get(), given, outputs_of_inner);
    own = outputs_of_inner[0];
  }
  for (size_t k = 0; k < entry->saved.size(); k++) {
    const int output = entry->saved[k].output;
    if (kept.own == (int)k || (!kept.asks.empty() && kept.asks[k])) {
      kept.saved.emplace_back();
    } else if (output == 1 && own.defined()) {
      kept.saved.emplace_back(own, false);
    } else {
      kept.saved.emplace_back(entry->kept_at(k, arguments, outputs), output >= 0 && entry->differentiable[output]);
    }
  }
}

/* Attach a node if needed, and convert the outputs to Python objects. */
PyObject* attached(Entry* entry, const Tensors& arguments, Tensors& outputs, bool recorded, std::unique_ptr<Ask> before) {
  if (entry->in_place) torch::autograd::impl::bump_version(outputs[0]);
  if (recorded) attach(entry, arguments, outputs, std::move(before));
  if (!entry->tuple) return wrapped(outputs[0]);
  outputs.resize(entry->outputs);
  return listed(outputs);
}

}  // namespace mb
