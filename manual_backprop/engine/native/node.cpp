/* The native node: runs a rule's call and its backward without Python, once they have been recorded.

A call is looked up by its key (key.h). The first calls run in Python. Then one is recorded (record.h), and from then on
the program runs (program.h). The same holds for the backward, and for the recomputation of a large tensor
(recompute.h). Calls that cannot be recorded stay in Python. Where the backward is itself differentiated, the formulas
always run in Python.
*/
#include "node.h"
#include "step.h"

namespace mb {

/* Drop what was recorded, because a formula or kernel has changed. Entries stay alive, because nodes point to them. */
void forgotten(Rule& known) {
  static auto* entries = new std::vector<std::unique_ptr<Entry>>();
  for (auto& [hash, entry] : known.entries) {
    std::lock_guard<std::mutex> guard(entry->lock);
    for (auto* recorded : {&entry->backwards, &entry->recomputes})
      for (auto& one : *recorded) one->state = GIVEN_UP;
    entries->push_back(std::move(entry));
  }
  known.entries.clear();
}

Place place_of(const at::Tensor& tensor, const Tensors& arguments, const Tensors& outputs, int count) {
  Place place{-1, -1};
  for (size_t a = 0; tensor.defined() && a < arguments.size(); a++)
    if (arguments[a].is_same(tensor)) place.argument = a;
  for (int o = 0; tensor.defined() && o < count; o++)
    if (outputs[o].is_same(tensor)) place = Place{-1, o};
  return place;
}

/* The recipe from Python's (function, arguments, index of the output). Null for None, and where a tensor is not an
argument, output or saved tensor of the call. */
std::unique_ptr<Recipe> recipe_of(PyObject* given, Entry* entry, const Tensors& arguments, const Tensors& outputs) {
  if (given == Py_None) return nullptr;
  auto recipe = std::make_unique<Recipe>();
  auto* all = PyTuple_GET_ITEM(given, 1);
  const auto count = PyTuple_GET_SIZE(all);
  recipe->arguments = PyTuple_New(count);
  if (!recipe->arguments) throw python_error();
  for (Py_ssize_t k = 0; k < count; k++) {
    auto* argument = PyTuple_GET_ITEM(all, k);
    const bool is_tensor = THPVariable_Check(argument);
    PyTuple_SET_ITEM(recipe->arguments, k, Py_NewRef(is_tensor ? Py_None : argument));
    if (!is_tensor) continue;
    const auto tensor = unwrapped(argument);
    auto place = place_of(tensor, arguments, outputs, entry->outputs);
    int saved = -1;
    for (size_t at = 0; at < entry->saved.size(); at++)
      if (entry->kept_at(at, arguments, outputs).is_same(tensor)) saved = at;
    if (place == Place{-1, -1} && saved < 0) return nullptr;
    recipe->tensors.push_back({k, place, saved});
  }
  recipe->function = Py_NewRef(PyTuple_GET_ITEM(given, 0));
  recipe->passes_on = recipe->function == passed_on;
  recipe->output = PyLong_AsLong(PyTuple_GET_ITEM(given, 2));
  return recipe;
}

/* Whether calls with large tensors are left to Python nodes. */
bool in_python() { return saving == IN_PYTHON || at::SavedTensorDefaultHooks::get_hooks(); }

/* Whether a Python node saves less memory: unlike a native node it can ask other Python nodes, and it can recompute a
tensor that is saved as the output of an inner node. */
bool better_in_python(const Entry* entry, const Tensors& arguments) {
  for (const auto& argument : arguments) {
    if (saving != RECOMPUTED || argument.numel() < large || !argument.requires_grad()) continue;
    if (asks_python(argument) || (entry->inner && entry->recipe && ask_for(argument, nullptr))) return true;
  }
  return false;
}

/* Run the call in Python and record it. Returns the outputs, or NotImplemented if a Python node has to run it again. */
PyObject* learned(Entry* entry, PyObject* rule, PyObject* args, const Tensors& arguments, bool recorded,
                  std::unique_ptr<Ask> before) {
  Recorder recorder;
  auto generator = at::detail::getDefaultCPUGenerator();
  const auto drawn = generator.get_state();
  recorder.begin(arguments);
  THPObjectPtr found(PyObject_CallFunction(learn, "OOO", rule, args, entry->needs));
  if (!found) throw python_error();
  // output, whether each output has a derivative, what is saved, attributes of ctx, name, inner, materialize, recipe
  auto *output = PyTuple_GET_ITEM(found.get(), 0), *kept = PyTuple_GET_ITEM(found.get(), 2);
  entry->tuple = PyTuple_Check(output);
  Tensors outputs;
  if (entry->tuple) {
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(output); k++) outputs.push_back(unwrapped(PyTuple_GET_ITEM(output, k)));
  } else {
    outputs.push_back(unwrapped(output));
  }
  entry->outputs = outputs.size();
  entry->differentiable.clear();
  for (size_t k = 0; k < outputs.size(); k++)
    entry->differentiable.push_back(PyTuple_GET_ITEM(PyTuple_GET_ITEM(found.get(), 1), k) == Py_True);
  entry->saved.clear();
  entry->saves_nothing = true;
  for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(kept); k++) {
    auto tensor = unwrapped(PyTuple_GET_ITEM(kept, k));
    entry->saved.push_back(place_of(tensor, arguments, outputs, entry->outputs));
    entry->saves_nothing &= !tensor.defined();
    outputs.push_back(tensor);
  }
  entry->recipe = recipe_of(PyTuple_GET_ITEM(found.get(), 7), entry, arguments, outputs);
  entry->attributes = Py_NewRef(PyTuple_GET_ITEM(found.get(), 3));
  entry->name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(found.get(), 4));
  entry->materialize = PyTuple_GET_ITEM(found.get(), 6) == Py_True;
  recorder.finish(outputs);
  if (auto* inner = PyTuple_GET_ITEM(found.get(), 5); inner != Py_None) {
    // (rule, attributes, needs, positions of its tensors among the arguments, whether it saves its output, name)
    auto part = std::make_unique<Entry>();
    part->rule = Py_NewRef(PyTuple_GET_ITEM(inner, 0));
    part->attributes = Py_NewRef(PyTuple_GET_ITEM(inner, 1));
    part->needs = Py_NewRef(PyTuple_GET_ITEM(inner, 2));
    part->outputs = 1;
    part->differentiable = {true};
    auto *places = PyTuple_GET_ITEM(inner, 3), *own = PyTuple_GET_ITEM(inner, 4);
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(places); k++) {
      part->tensors.push_back(k);
      entry->inner_arguments.push_back(PyLong_AsLong(PyTuple_GET_ITEM(places, k)));
    }
    if (own == Py_True) part->saved.push_back(Place{-1, 0});
    part->saves_nothing = own != Py_True;
    part->name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(inner, 5));
    entry->inner = std::move(part);
  }
  bool viewed = false;
  for (size_t k = 0; k < outputs.size(); k++) {
    if (!outputs[k].defined()) continue;
    entry->largest = std::max(entry->largest, outputs[k].numel());
    if ((int)k >= entry->outputs || (entry->in_place && k == 0)) continue;
    for (const auto& argument : arguments) viewed |= argument.defined() && outputs[k].is_alias_of(argument);
    viewed |= outputs[k].grad_fn() || outputs[k].is_view();
  }
  if (viewed) recorder.give_up("it returns a view");
  entry->problem = recorder.problem;
  entry->state = recorder.problem.empty() ? READY : GIVEN_UP;
  entry->program = std::move(recorder.program);
  // cases for a Python node: it can compress large tensors, return views, and recompute for an inner node. The call
  // runs again there, and has to draw the same random numbers
  const bool elsewhere = recorded && entry->inner && better_in_python(entry, arguments);
  if ((entry->largest >= large && in_python()) || viewed || elsewhere) {
    generator.set_state(drawn);
    Py_RETURN_NOTIMPLEMENTED;
  }
  return attached(entry, arguments, outputs, recorded, std::move(before));
}

PyObject* call(PyObject*, PyObject* const* given, Py_ssize_t) {
  HANDLE_TH_ERRORS
  auto *rule = given[0], *args = given[1];
  if (special_but_for_function_modes() || Recorder::active()) Py_RETURN_NOTIMPLEMENTED;
  const bool in_mode = at::impl::torch_function_mode_enabled();
  if (in_mode && !only_explicit()) Py_RETURN_NOTIMPLEMENTED;
  const bool grad = at::GradMode::is_enabled();
  bool recorded = false, big = false;
  Tensors arguments;
  std::vector<int> places;
  Key key;
  key.add(grad + 2 * (int64_t)saving);
  const auto count = PyTuple_GET_SIZE(args);
  for (int k = 0; k < count; k++) {
    auto* arg = PyTuple_GET_ITEM(args, k);
    if (Py_TYPE(arg) == (PyTypeObject*)THPVariableClass || (PyObject*)Py_TYPE(arg) == parameter) {
      const auto& tensor = THPVariable_Unpack(arg);
      if (tensor.key_set().raw_repr() != plain_keys()) Py_RETURN_NOTIMPLEMENTED;
      big |= tensor.numel() >= large;
      const bool needs = grad && tensor.requires_grad();
      recorded |= needs;
      int64_t same = -1;
      for (size_t a = 0; a < arguments.size(); a++)
        if (arguments[a].is_same(tensor)) same = a;
      key.add(needs + 2 * (same + 1));
      key.add(tensor);
      arguments.push_back(tensor);
      places.push_back(k);
    } else if (THPVariable_Check(arg) || !key.add(arg)) {
      Py_RETURN_NOTIMPLEMENTED;
    }
  }
  key.seal();
  auto& all = rules()[rule];
  if (auto version = version_of(rule); version != all.version) {
    forgotten(all);
    all.version = version;
    all.served = -1;
  }
  if (all.version == 0) Py_RETURN_NOTIMPLEMENTED;  // Python has not yet given the changed class a version
  if (all.served < 0) {
    if (in_mode) Py_RETURN_NOTIMPLEMENTED;
    THPObjectPtr found(PyObject_CallFunctionObjArgs(servable, rule, nullptr));
    if (!found) throw python_error();
    all.served = PyLong_AsLong(found.get());
  }
  if (!all.served) Py_RETURN_NOTIMPLEMENTED;
  if (all.served == 2 && (arguments.empty() || places[0] != 0 || arguments[0].is_view())) Py_RETURN_NOTIMPLEMENTED;
  for (size_t a = 1; all.served == 2 && a < arguments.size(); a++)
    if (arguments[a].is_alias_of(arguments[0])) Py_RETURN_NOTIMPLEMENTED;
  auto& known = all.entries;
  Entry* entry = nullptr;
  auto [first, last] = known.equal_range(key.hash);
  for (auto it = first; it != last; ++it)
    if (it->second->key == key) entry = it->second.get();
  if (!entry) {
    if (in_mode || known.size() >= MOST) Py_RETURN_NOTIMPLEMENTED;
    auto made = std::make_unique<Entry>();
    entry = made.get();
    entry->rule = Py_NewRef(rule);
    entry->version = all.version;
    entry->in_place = all.served == 2;
    entry->tensors = places;
    entry->needs = PyTuple_New(count);
    for (int k = 0; k < count; k++) PyTuple_SET_ITEM(entry->needs, k, Py_NewRef(Py_False));
    for (size_t a = 0; a < places.size(); a++)
      if (grad && arguments[a].requires_grad()) PyTuple_SetItem(entry->needs, places[a], Py_NewRef(Py_True));
    key.keep();
    entry->key = std::move(key);
    known.emplace(entry->key.hash, std::move(made));
  }
  if (entry->state == GIVEN_UP || entry->state == LEARNING) Py_RETURN_NOTIMPLEMENTED;
  big |= entry->largest >= large;
  std::unique_ptr<Ask> before;
  if (big && recorded) {
    if (in_python()) Py_RETURN_NOTIMPLEMENTED;
    if (better_in_python(entry, arguments)) Py_RETURN_NOTIMPLEMENTED;
    if (entry->in_place && saving == RECOMPUTED) before = ask_for(arguments[0], nullptr);
  }
  if (entry->state == NEW) {
    if (in_mode) Py_RETURN_NOTIMPLEMENTED;  // `mb.explicit` would see the calls of the formulas: Python leaves it first
    if (++entry->seen <= calls_in_python) Py_RETURN_NOTIMPLEMENTED;
    entry->state = LEARNING;
    try {
      return learned(entry, rule, args, arguments, recorded, std::move(before));
    } catch (...) {
      entry->state = NEW;
      throw;
    }
  }
  Tensors outputs;
  bool served;
  {
    pybind11::gil_scoped_release no_gil;
    at::AutoDispatchBelowAutograd guard;
    c10::AutoGradMode no_grad(false);  // some operators ask for the grad mode and take another path
    served = run(entry->program, Tensors(arguments), outputs);
  }
  if (!served) Py_RETURN_NOTIMPLEMENTED;
  for (int k = entry->in_place; k < entry->outputs; k++)  // a rule does not return views (see `owned`)
    if (outputs[k].defined() && outputs[k].is_view()) outputs[k] = outputs[k].variable_data();
  return attached(entry, arguments, outputs, recorded, std::move(before));
  END_HANDLE_TH_ERRORS
}

RuleNode* node_of(PyObject* object) {
  if (Py_TYPE(object) != &node_type) return nullptr;
  return static_cast<RuleNode*>(((torch::autograd::THPCppFunction*)object)->cdata.get());
}

PyObject* saved_tensors(PyObject* self, void*) {
  HANDLE_TH_ERRORS
  const WithoutAutocast dtypes_of_the_forward;
  return listed(node_of(self)->unpacked());
  END_HANDLE_TH_ERRORS
}

PyObject* rule_of(PyObject* self, void*) { return Py_NewRef(node_of(self)->entry->rule); }

PyObject* needs_input_grad(PyObject* self, void*) { return Py_NewRef(node_of(self)->entry->needs); }

PyObject* set_up(PyObject*, PyObject* args) {
  if (!PyArg_ParseTuple(args, "OOOOOO", &learn, &derive, &recompute, &passed_on, &servable, &parameter)) return nullptr;
  for (auto* kept : {learn, derive, recompute, passed_on, servable, parameter}) Py_INCREF(kept);
  Py_RETURN_NONE;
}

PyObject* limits(PyObject*, PyObject* args) {
  int calls, how;
  if (!PyArg_ParseTuple(args, "Lii", &large, &calls, &how)) return nullptr;
  if (calls >= 0) calls_in_python = calls;
  if (how >= 0) saving = (Saving)how;
  Py_RETURN_NONE;
}

PyObject* enable(PyObject*, PyObject* on) {
  bool before = enabled;
  enabled = on == Py_True;
  return PyBool_FromLong(before);
}

PyObject* forget(PyObject*, PyObject*) {
  for (auto& [rule, known] : rules()) forgotten(known);
  Py_RETURN_NONE;
}

/* The state of each key of a rule: (calls seen, state, states of its backwards, states of its recomputations). A state
is "new", "ready", or the reason why it could not be recorded. */
PyObject* status(PyObject*, PyObject* rule) {
  HANDLE_TH_ERRORS
  THPObjectPtr all(PyList_New(0));
  for (auto& [hash, entry] : rules()[rule].entries) {
    auto said = [](State state, const std::string& problem) {
      return state == NEW || state == LEARNING ? "new" : state == READY ? "ready" : problem.c_str();
    };
    auto listed_states = [&](const std::vector<std::unique_ptr<Recorded>>& recorded) {
      auto* texts = PyList_New(0);
      for (auto& one : recorded) {
        THPObjectPtr text(PyUnicode_FromString(said(one->state, entry->problem)));
        PyList_Append(texts, text.get());
      }
      return texts;
    };
    THPObjectPtr one(Py_BuildValue("isNN", entry->seen, said(entry->state, entry->problem),
                                   listed_states(entry->backwards), listed_states(entry->recomputes)));
    PyList_Append(all.get(), one.get());
  }
  return all.release();
  END_HANDLE_TH_ERRORS
}

Ask* ask_in(PyObject* capsule) { return (Ask*)PyCapsule_GetPointer(capsule, "ask"); }

PyObject* ask(PyObject*, PyObject* tensor) {  // for a Python node; None if no native node can recompute the tensor
  HANDLE_TH_ERRORS
  auto found = ask_for(THPVariable_Unpack(tensor), nullptr);
  if (!found) Py_RETURN_NONE;
  return PyCapsule_New(found.release(), "ask", [](PyObject* self) { delete ask_in(self); });
  END_HANDLE_TH_ERRORS
}

PyObject* asked(PyObject*, PyObject* capsule) {
  HANDLE_TH_ERRORS
  return wrapped(ask_in(capsule)->tensor(torch::autograd::get_current_graph_task_id()));
  END_HANDLE_TH_ERRORS
}

PyObject* skipped(PyObject*, PyObject* capsule) {
  std::lock_guard<std::mutex> guard(bookkeeping());
  skip(*ask_in(capsule), torch::autograd::get_current_graph_task_id());
  Py_RETURN_NONE;
}

PyObject* depth(PyObject*, PyObject* capsule) {  // (depth, whether it is recomputed; if not, its node has saved it)
  const auto& kept = *ask_in(capsule)->kept;
  return Py_BuildValue("iO", kept.depth, kept.recomputed ? Py_True : Py_False);
}

PyObject* recording(PyObject*, PyObject*) { return PyBool_FromLong(Recorder::active() != nullptr); }

PyObject* number(PyObject*, PyObject* tensor) {  // reads a tensor's element; the recorder does not see it
  HANDLE_TH_ERRORS
  return PyFloat_FromDouble(number_in(THPVariable_Unpack(tensor)));
  END_HANDLE_TH_ERRORS
}

PyObject* unrecorded(PyObject*, PyObject* why) {
  if (auto* recorder = Recorder::active()) recorder->give_up(PyUnicode_AsUTF8(why));
  Py_RETURN_NONE;
}

/* Add a kernel that Python has called to the recording: its address, whether it returns 0 if it accepts the values that
it reads, and its arguments: tensors, None, integers, floats, bytes for a constant array, and (tensor, factor) for a
tensor's single element times a factor. */
PyObject* kernel(PyObject*, PyObject* given) {
  HANDLE_TH_ERRORS
  auto* recorder = Recorder::active();
  if (!recorder) Py_RETURN_NONE;
  Instruction step;
  step.kernel.address = PyLong_AsVoidPtr(PyTuple_GET_ITEM(given, 0));
  step.kernel.checked = PyTuple_GET_ITEM(given, 1) == Py_True;
  for (Py_ssize_t k = 2; k < PyTuple_GET_SIZE(given); k++) {
    auto* arg = PyTuple_GET_ITEM(given, k);
    int at = step.kernel.integers.size();
    if (THPVariable_Check(arg)) {
      int value = recorder->place(THPVariable_Unpack(arg));
      if (value < 0) recorder->give_up("a kernel's tensor that is neither an input nor a result");
      else step.values.emplace_back(at, value);
      step.kernel.integers.push_back(0);
    } else if (PyBytes_Check(arg)) {
      auto* text = PyBytes_AS_STRING(arg);
      step.kernel.places.emplace_back(at, step.kernel.data.size());
      step.kernel.data.emplace_back(text, text + PyBytes_GET_SIZE(arg));
      step.kernel.integers.push_back(0);
    } else if (PyTuple_Check(arg)) {
      int value = recorder->place(THPVariable_Unpack(PyTuple_GET_ITEM(arg, 0)));
      if (value < 0) recorder->give_up("a kernel's number from a tensor that is neither an input nor a result");
      else step.kernel.scalars.push_back({(int)step.kernel.doubles.size(), value, PyFloat_AsDouble(PyTuple_GET_ITEM(arg, 1))});
      step.kernel.doubles.push_back(0);
    } else if (PyFloat_Check(arg)) {
      step.kernel.doubles.push_back(PyFloat_AS_DOUBLE(arg));
    } else {
      step.kernel.integers.push_back(arg == Py_None ? 0 : PyLong_AsLongLong(arg));
    }
  }
  if (PyErr_Occurred()) return nullptr;
  if (step.kernel.integers.size() > 24 || step.kernel.doubles.size() > 8) recorder->give_up("a kernel of too many arguments");
  recorder->program.instructions.push_back(std::move(step));
  Py_RETURN_NONE;
  END_HANDLE_TH_ERRORS
}

PyGetSetDef properties[] = {
    {"next_functions", torch::autograd::THPCppFunction_next_functions, nullptr, nullptr, nullptr},
    {"requires_grad", torch::autograd::THPCppFunction_requires_grad, nullptr, nullptr, nullptr},
    {"metadata", torch::autograd::THPCppFunction_metadata, nullptr, nullptr, nullptr},
    {"_input_metadata", torch::autograd::THPCppFunction_input_metadata, nullptr, nullptr, nullptr},
    {"saved_tensors", saved_tensors, nullptr, nullptr, nullptr},
    {"needs_input_grad", needs_input_grad, nullptr, nullptr, nullptr},
    {"_forward_cls", rule_of, nullptr, nullptr, nullptr},
    {nullptr}};

PyMethodDef functions[] = {
    {"call", (PyCFunction)(void (*)())call, METH_FASTCALL, nullptr},
    {"set_up", set_up, METH_VARARGS, nullptr},
    {"limits", limits, METH_VARARGS, nullptr},
    {"enable", enable, METH_O, nullptr},
    {"forget", forget, METH_NOARGS, nullptr},
    {"status", status, METH_O, nullptr},
    {"ask", ask, METH_O, nullptr},
    {"asked", asked, METH_O, nullptr},
    {"skipped", skipped, METH_O, nullptr},
    {"depth", depth, METH_O, nullptr},
    {"recording", recording, METH_NOARGS, nullptr},
    {"number", number, METH_O, nullptr},
    {"unrecorded", unrecorded, METH_O, nullptr},
    {"kernel", kernel, METH_VARARGS, nullptr},
    {"record_step", record_step, METH_VARARGS, nullptr},
    {"run_step", (PyCFunction)(void (*)())run_step, METH_FASTCALL, nullptr},
    {nullptr}};

PyMethodDef methods[] = {
    {"_register_hook_dict", torch::autograd::THPCppFunction_register_hook_dict, METH_O, nullptr},
    {"register_hook", torch::autograd::THPCppFunction_register_hook, METH_O, nullptr},
    {"register_prehook", torch::autograd::THPCppFunction_register_prehook, METH_O, nullptr},
    {"name", torch::autograd::THPCppFunction_name, METH_NOARGS, nullptr},
    {"_sequence_nr", torch::autograd::THPCppFunction_sequence_nr, METH_NOARGS, nullptr},
    {nullptr}};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "manual_backprop_node", nullptr, -1, functions};

}  // namespace mb

PyMODINIT_FUNC PyInit_manual_backprop_node() {
  using namespace torch::autograd;
  _initFunctionPyTypeObject(mb::node_type, "RuleNode", mb::properties, mb::methods);
  registerCppFunction(typeid(mb::RuleNode), &mb::node_type);
  auto* module = PyModule_Create(&mb::module);
  if (module) PyModule_AddObjectRef(module, "RuleNode", (PyObject*)&mb::node_type);
  return module;
}
