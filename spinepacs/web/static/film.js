// A film on the study page: zoom, pan and window by mouse and keyboard, layers on and off, what is pointed at in words.
"use strict";

const LEAST_PART = 1 / 16; // of the film that is shown at the most enlarged
const STEP = 1.25;

class Film {
  constructor(root) {
    this.svg = root.querySelector("svg.picture");
    if (!this.svg) return;
    this.said = root.querySelector("[data-said]");
    this.width = Number(this.svg.dataset.columns);
    this.height = Number(this.svg.dataset.rows);
    this.functions = this.svg.querySelectorAll("feFuncR, feFuncG, feFuncB");
    this.whole();
    this.windowBack();
    this.listen(root);
  }

  listen(root) {
    root.querySelectorAll("button[data-do]").forEach((button) =>
      button.addEventListener("click", () => this.act(button.dataset.do)));
    root.querySelectorAll("input[data-layer]").forEach((box) =>
      box.addEventListener("change", () => this.show(box.dataset.layer, box.checked)));
    this.svg.addEventListener("keydown", (event) => this.onKey(event));
    this.svg.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.svg.addEventListener("pointerdown", (event) => this.onDown(event));
    this.svg.addEventListener("pointermove", (event) => this.onMove(event));
    this.svg.addEventListener("pointerup", () => { this.held = null; });
    this.svg.addEventListener("pointercancel", () => { this.held = null; });
    this.svg.addEventListener("contextmenu", (event) => event.preventDefault());
    this.svg.addEventListener("pointerover", (event) => this.tell(event.target));
  }

  act(what) {
    if (what === "in") this.zoom(1 / STEP);
    if (what === "out") this.zoom(STEP);
    if (what === "all") this.whole();
    if (what === "window") this.windowBack();
  }

  show(layer, isShown) {
    this.svg.querySelectorAll(`g[data-layer="${layer}"]`).forEach((group) =>
      group.classList.toggle("hidden", !isShown));
  }

  tell(element) {
    const about = element.closest("[data-about]");
    if (about && this.said) this.said.textContent = about.dataset.about;
  }

  whole() {
    this.box = { x: 0, y: 0, part: 1 };
    this.draw();
  }

  windowBack() {
    this.slope = 1;
    this.middle = 0.5;
    this.drawWindow();
  }

  // Zoom by a factor about a point of the film, given as shares of what is shown.
  zoom(factor, atX = 0.5, atY = 0.5) {
    const before = this.box.part;
    this.box.part = Math.min(1, Math.max(LEAST_PART, before * factor));
    this.box.x += (before - this.box.part) * this.width * atX;
    this.box.y += (before - this.box.part) * this.height * atY;
    this.draw();
  }

  pan(shareX, shareY) {
    this.box.x += shareX * this.box.part * this.width;
    this.box.y += shareY * this.box.part * this.height;
    this.draw();
  }

  window(contrast, brightness) {
    this.slope = Math.min(20, Math.max(0.2, this.slope * contrast));
    this.middle = Math.min(1, Math.max(0, this.middle + brightness));
    this.drawWindow();
  }

  draw() {
    const { part } = this.box;
    this.box.x = Math.min(this.width * (1 - part), Math.max(0, this.box.x));
    this.box.y = Math.min(this.height * (1 - part), Math.max(0, this.box.y));
    this.svg.setAttribute("viewBox",
      `${this.box.x} ${this.box.y} ${this.width * part} ${this.height * part}`);
  }

  drawWindow() {
    this.functions.forEach((each) => {
      each.setAttribute("slope", this.slope);
      each.setAttribute("intercept", 0.5 - this.slope * this.middle);
    });
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const deeds = {
      ArrowLeft: () => this.pan(-0.1, 0), ArrowRight: () => this.pan(0.1, 0),
      ArrowUp: () => this.pan(0, -0.1), ArrowDown: () => this.pan(0, 0.1),
      "+": () => this.zoom(1 / STEP), "=": () => this.zoom(1 / STEP), "-": () => this.zoom(STEP),
      0: () => this.whole(), "]": () => this.window(1.1, 0), "[": () => this.window(1 / 1.1, 0),
      "}": () => this.window(1, -0.03), "{": () => this.window(1, 0.03), Home: () => this.windowBack(),
    };
    if (deeds[event.key]) {
      deeds[event.key]();
      event.preventDefault();
    }
  }

  onWheel(event) {
    // Without Ctrl and without the focus the page scrolls: nobody is to be caught over a film.
    if (!event.ctrlKey && document.activeElement !== this.svg) return;
    const frame = this.svg.getBoundingClientRect();
    this.zoom(event.deltaY < 0 ? 1 / STEP : STEP,
      (event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height);
    event.preventDefault();
  }

  onDown(event) {
    this.svg.focus({ preventScroll: true });
    this.held = { x: event.clientX, y: event.clientY, windows: event.shiftKey || event.button === 2 };
    if (event.pointerType !== "touch" || this.box.part < 1) this.svg.setPointerCapture(event.pointerId);
    this.tell(event.target);
  }

  onMove(event) {
    if (!this.held) return;
    const frame = this.svg.getBoundingClientRect();
    const shareX = (event.clientX - this.held.x) / frame.width;
    const shareY = (event.clientY - this.held.y) / frame.height;
    Object.assign(this.held, { x: event.clientX, y: event.clientY });
    if (this.held.windows) this.window(Math.exp(2 * shareX), shareY);
    else this.pan(-shareX, -shareY);
  }
}

document.querySelectorAll("[data-film]").forEach((root) => new Film(root));
