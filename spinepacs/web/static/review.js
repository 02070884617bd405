// The draft of a correction on the film: its bodies, points that can be dragged or moved by keys, a missed body drawn.
// What a change means is decided by the server, which answers each with the draft as it is then.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const IDLE_MS = 900; // after the last arrow key a point is where it is to be
const CLICK_PX = 4; // a pointer that moved less was no drag

const plus = (point, by) => [point[0] + by[0], point[1] + by[1]];
const minus = (point, other) => [point[0] - other[0], point[1] - other[1]];
const length = (vector) => Math.hypot(vector[0], vector[1]);
const rounded = (point) => point.map((value) => Math.round(value * 100) / 100);
const written = (points) => points.map((point) => point.join(",")).join(" ");
const mean = (points) => [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);

function element(parent, name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  if (text) made.textContent = text;
  parent.append(made);
  return made;
}

class Review {
  constructor(section) {
    this.section = section;
    this.svg = section.querySelector("svg.picture");
    this.size = this.svg ? [Number(this.svg.dataset.columns), Number(this.svg.dataset.rows)] : null;
    this.chosen = null; // place of the chosen body among all, from the head
    this.focused = null; // name of the point that had the focus
    new MutationObserver(() => this.refresh()).observe(section.querySelector(".words"), { childList: true, subtree: true });
    section.addEventListener("submit", () => { this.isBusy = true; });
    if (this.svg) this.listen();
    this.refresh();
  }

  listen() {
    this.svg.addEventListener("pointerdown", (event) => this.onDown(event), true);
    this.svg.addEventListener("pointermove", (event) => this.onMove(event), true);
    this.svg.addEventListener("pointerup", (event) => this.onUp(event), true);
    this.svg.addEventListener("pointercancel", () => this.putBack(), true);
    this.svg.addEventListener("keydown", (event) => this.onKey(event), true);
  }

  // After each answer of the server: a new desk, another draft, or none.
  refresh() {
    const desk = this.section.querySelector("[data-draft]");
    if (desk === this.desk) return;
    const hadFocus = this.desk && (document.activeElement === document.body || this.focused);
    const isFirst = desk && !this.desk;
    this.desk = desk;
    this.isBusy = false;
    this.placed = null;
    clearTimeout(this.timer);
    this.draft = desk ? JSON.parse(desk.dataset.draft) : null;
    this.words = desk ? JSON.parse(desk.dataset.words) : null; // in the language of the page
    if (!desk) this.chosen = this.focused = null;
    if (desk) this.meet(desk);
    if (this.svg) this.draw();
    if (isFirst || hadFocus) this.focusBack();
  }

  meet(desk) {
    const vertebra = desk.querySelector("[data-vertebra]");
    if (vertebra) {
      this.chosen = Math.min(this.chosen ?? 0, vertebra.options.length - 1);
      vertebra.selectedIndex = this.chosen;
      this.follow(vertebra);
      vertebra.addEventListener("change", () => this.choose(vertebra.selectedIndex));
    }
    desk.querySelectorAll("details.more").forEach((more) => more.addEventListener("toggle", () => this.draw()));
    const finding = desk.querySelector("[data-finding]");
    if (finding) {
      this.offer(finding);
      finding.addEventListener("change", () => this.offer(finding));
    }
    const deeds = { "[data-place]": () => this.place(), "[data-put]": () => this.put(), "[data-leave]": () => this.leave() };
    Object.entries(deeds).forEach(([selector, deed]) => desk.querySelector(selector)?.addEventListener("click", deed));
  }

  focusBack() {
    const point = this.focused && this.handle(this.focused);
    (point || this.section.querySelector("[data-focus]")).focus({ preventScroll: Boolean(point) });
  }

  // The grades of a finding in words, and in "is" the name that the vertebra has.
  offer(finding) {
    const grades = finding.selectedOptions[0].dataset.grades.split("|");
    this.desk.querySelector("[data-grade]").replaceChildren(...grades.map((name, number) => new Option(name, number)));
  }

  follow(vertebra) {
    const level = vertebra.form.elements.namedItem("level");
    if (level && vertebra.value) level.value = vertebra.value;
  }

  choose(number) {
    this.chosen = number;
    this.focused = null;
    const vertebra = this.desk.querySelector("[data-vertebra]");
    if (vertebra) {
      vertebra.selectedIndex = number;
      this.follow(vertebra);
    }
    this.draw();
  }

  get body() {
    const isOpen = this.desk?.querySelector("details.more")?.open;
    return isOpen && !this.placed && this.draft ? this.draft.bodies[this.chosen] : undefined;
  }

  draw() {
    const active = this.layer?.contains(document.activeElement) ? document.activeElement.dataset.point : null;
    this.layer?.remove();
    this.layer = null;
    this.svg?.classList.toggle("drafting", Boolean(this.draft));
    this.section.querySelectorAll("fieldset.layers").forEach((layers) => { layers.disabled = Boolean(this.draft); });
    if (!this.svg || !this.draft) return;
    this.layer = element(this.svg, "g", { class: "draft" });
    this.draft.discs.flat().forEach((line) => element(this.layer, "polyline", { class: "disc", points: written(line) }));
    this.draft.bodies.forEach((body, number) => this.drawBody(body, number));
    if (this.body) this.drawHandles(this.body);
    if (this.placed) this.drawPlaced();
    if (active) this.handle(active)?.focus({ preventScroll: true });
  }

  handle(name) {
    return this.svg.querySelector(`[data-point="${name}"]`);
  }

  drawBody(body, number) {
    const group = element(this.layer, "g", { stroke: body.colour, "data-body": number, class: body === this.body ? "chosen" : "" });
    element(group, "polygon", { points: written(body.outline) });
    body.plates.forEach((plate) => element(group, "polyline", { class: "plate", points: written(plate) }));
    const [x, y] = body.at;
    element(this.layer, "text", { x, y, "font-size": this.draft.letters, class: body.is_new ? "new" : "" }, body.level);
  }

  drawHandles(body) {
    Object.entries(body.points).forEach(([name, at]) =>
      this.drawHandle(name, at, this.words.points[name].replace("%", body.level)));
  }

  // A point as a line of no length with round ends: as large on the screen at every zoom.
  drawHandle(name, at, label) {
    const group = element(this.layer, "g", {
      class: "handle", tabindex: 0, role: "button", "data-point": name, "aria-label": this.words.keys.replace("%", label),
    });
    ["halo", "dot"].forEach((part) => element(group, "line", { class: part }));
    this.shift(group, at);
    group.addEventListener("focus", () => { this.focused = name; });
    group.addEventListener("blur", () => this.onBlur(name));
    return group;
  }

  shift(group, [x, y]) {
    group.querySelectorAll("line").forEach((line) =>
      Object.entries({ x1: x, y1: y, x2: x, y2: y }).forEach(([key, value]) => line.setAttribute(key, value)));
  }

  where(event) {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
    return this.inside([at.x, at.y]);
  }

  inside(point) {
    return rounded(point.map((value, axis) => Math.min(this.size[axis], Math.max(0, value))));
  }

  onDown(event) {
    if (!this.draft || event.button !== 0) return;
    this.pressed = { x: event.clientX, y: event.clientY };
    const handle = event.target.closest("[data-point]");
    if (!handle || this.isBusy) return;
    event.stopImmediatePropagation(); // the film is not moved along
    event.preventDefault();
    this.svg.setPointerCapture(event.pointerId);
    handle.focus({ preventScroll: true });
    this.held = { name: handle.dataset.point, from: this.where(event), moved: false };
  }

  onMove(event) {
    if (!this.held) return;
    event.stopImmediatePropagation();
    const to = this.where(event);
    const by = minus(to, this.held.from);
    if (!length(by)) return;
    this.held.from = to;
    this.held.moved = true;
    this.moveBy(this.held.name, by);
  }

  onUp(event) {
    const { held, pressed } = this;
    this.held = this.pressed = null;
    if (held) {
      event.stopImmediatePropagation();
      if (held.moved) this.settle(held.name);
    } else if (pressed && length([event.clientX - pressed.x, event.clientY - pressed.y]) < CLICK_PX) {
      this.onClick(event);
    }
  }

  onClick(event) {
    if (this.placed) {
      this.moveBy("whole", minus(this.where(event), mean(this.placed)));
      this.tellPlaced();
      return;
    }
    const group = document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-body]");
    if (group && this.svg.contains(group)) this.choose(Number(group.dataset.body));
  }

  onKey(event) {
    const handle = event.target.closest("[data-point]");
    if (!handle || !this.draft || event.ctrlKey || event.metaKey || event.altKey) return;
    const name = handle.dataset.point;
    const step = STEPS[event.key];
    if (!step && event.key !== "Enter" && event.key !== "Escape") return;
    event.stopImmediatePropagation();
    event.preventDefault();
    if (this.isBusy) return;
    if (event.key === "Escape") this.putBack();
    else if (event.key === "Enter") this.settle(name);
    else {
      this.moveBy(name, step.map((value) => value * (event.shiftKey ? 10 : 1)));
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.settle(name), IDLE_MS);
    }
  }

  onBlur(name) {
    if (this.layer?.isConnected && this.unsettled === name) this.settle(name);
  }

  moveBy(name, by) {
    if (this.placed) {
      this.movePlaced(name, by);
      return;
    }
    this.at ??= [...this.body.points[name]];
    this.unsettled = name;
    this.at = this.inside(plus(this.at, by));
    this.shift(this.handle(name), this.at);
  }

  // A point is where it is to be: that is one change of the draft.
  settle(name) {
    clearTimeout(this.timer);
    if (this.placed) {
      this.tellPlaced();
      return;
    }
    if (this.unsettled !== name || !this.at) return;
    const { at } = this;
    this.at = this.unsettled = null;
    this.send({ kind: "move", vertebra: this.body.level, point: name, to: at });
  }

  putBack() {
    clearTimeout(this.timer);
    this.held = this.at = this.unsettled = null;
    this.draw();
  }

  send(operation) {
    const form = this.desk.querySelector("form.send");
    form.elements.namedItem("add").value = JSON.stringify(operation);
    form.requestSubmit();
  }

  // Propose a body in the widest gap, of its neighbours' shape.
  place() {
    const { bodies } = this.draft;
    if (!this.svg || !bodies.length) return;
    const gaps = bodies.slice(1).map((body, number) => length(minus(body.at, bodies[number].at)));
    const widest = gaps.indexOf(Math.max(...gaps));
    const at = gaps.length ? mean([bodies[widest].at, bodies[widest + 1].at]) : mean([this.size, [0, 0]]);
    this.placed = this.shapeNear(at).map((corner) => this.inside(plus(at, corner)));
    this.focused = "whole";
    this.showPlacing(true);
    this.draw();
    this.tellPlaced();
    this.handle("whole").focus();
  }

  // Corners about the middle of the nearest body that has both endplates, a little smaller than it.
  shapeNear(at) {
    const whole = this.draft.bodies.filter((body) => Object.keys(body.points).length === 6);
    const [nearest] = whole.sort((one, two) => length(minus(one.at, at)) - length(minus(two.at, at)));
    if (!nearest) {
      const half = Math.min(...this.size) / 20;
      return [[-half, -half], [half, -half], [half, half], [-half, half]];
    }
    const corners = ["upper_left", "upper_right", "lower_right", "lower_left"].map((name) => nearest.points[name]);
    const middle = mean(corners);
    return corners.map((corner) => minus(corner, middle));
  }

  drawPlaced() {
    this.shape = element(this.layer, "polygon", { class: "placed", points: written(this.placed) });
    this.drawHandle("whole", mean(this.placed), this.words.whole);
    this.words.corners.forEach((label, number) => this.drawHandle(`corner${number}`, this.placed[number], label));
  }

  movePlaced(name, by) {
    const number = name === "whole" ? null : Number(name.slice("corner".length));
    this.placed = this.placed.map((corner, each) => (number === null || each === number ? this.inside(plus(corner, by)) : corner));
    this.shape.setAttribute("points", written(this.placed));
    this.shift(this.handle("whole"), mean(this.placed));
    this.placed.forEach((corner, each) => this.shift(this.handle(`corner${each}`), corner));
  }

  // Its number among the levels: one more than the body above it; above them all, one less than the first.
  levelOfPlaced() {
    const { bodies } = this.draft;
    const at = mean(this.placed);
    const axis = minus(bodies.at(-1).at, bodies[0].at);
    const along = (point) => point[0] * axis[0] + point[1] * axis[1];
    const above = bodies.filter((body) => along(body.at) < along(at));
    return above.length ? above.at(-1).order + 1 : bodies[0].order - 1;
  }

  nameOfPlaced() {
    const names = [...this.desk.querySelector("select[name=level]").options].map((option) => option.value);
    return names[this.levelOfPlaced()];
  }

  tellPlaced() {
    const name = this.nameOfPlaced();
    const said = name ? this.words.would.replace("%", name) : this.words.beyond;
    this.desk.querySelector("[data-placing-said]").textContent = `${said} ${this.words.how}`;
    this.desk.querySelector("[data-put]").disabled = !name;
  }

  showPlacing(isShown) {
    this.desk.querySelector("[data-placing]").hidden = !isShown;
    this.desk.querySelector("[data-place]").hidden = isShown;
  }

  put() {
    const operation = { kind: "insert", level: this.nameOfPlaced(), outline: this.placed };
    this.focused = null;
    this.send(operation);
  }

  leave() {
    this.placed = this.focused = null;
    this.showPlacing(false);
    this.desk.querySelector("[data-placing-said]").textContent = "";
    this.draw();
    this.desk.querySelector("[data-place]").focus();
  }
}

document.querySelectorAll("section.film").forEach((section) => new Review(section));
