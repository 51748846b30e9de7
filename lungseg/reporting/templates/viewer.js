"use strict";
// The viewer: one case at a time. Its pictures are texts in the page until the case is chosen, and
// a slice is decoded when it is shown.
const viewer = (() => {
  const root = document.getElementById("viewer");
  const find = (selector) => root.querySelector(selector);
  const all = (selector) => [...root.querySelectorAll(selector)];
  const [title, stage, image, svg, slider] =
    ["#viewer-title", ".stage", ".stage img", ".stage svg", ".slider input"].map(find);
  let pictures = null; // of the case: {hu, views}
  let view = null; // one of the views: {name, width, height, aspect, count, slices}
  let position = 0; // of the slice in the view

  function press(buttons, pressed) {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button === pressed));
  }

  function show(index) {
    position = Math.max(0, Math.min(view.slices.length - 1, index));
    const slice = view.slices[position];
    const name = `${view.name} slice ${slice.n} of ${view.count}`;
    const text = view.count === 1 ? "one slice" : name;
    image.src = "data:image/webp;base64," + slice.image;
    image.alt = `${title.textContent}, ${text}`;
    for (const path of svg.children) path.setAttribute("d", slice.lines[path.dataset.line] || "");
    view.position = position;
    slider.value = position;
    slider.setAttribute("aria-valuetext", text);
    const left_out = view.count - view.slices.length;
    find(".caption").textContent =
      text[0].toUpperCase() + text.slice(1) + (left_out ? `; ${view.slices.length} are shown` : "");
  }

  function choose_view(chosen) {
    view = chosen;
    press(all(".planes button"), all(".planes button")[pictures.views.indexOf(view)]);
    // High pictures are made narrower, so that the whole viewer fits on a screen.
    stage.style.aspectRatio = view.aspect;
    stage.style.width = `min(100%, ${70 * view.aspect}vh)`;
    // Whole numbers are the middles of pixels.
    svg.setAttribute("viewBox", `-0.5 -0.5 ${view.width} ${view.height}`);
    slider.max = view.slices.length - 1;
    for (const part of all(".slider, .keys")) part.hidden = view.slices.length < 2;
    const used = new Set(view.slices.flatMap((slice) => Object.keys(slice.lines)));
    for (const item of all(".lines li")) item.hidden = !used.has(item.dataset.line);
    show(view.position === undefined ? view.slices.length >> 1 : view.position);
  }

  function choose_window(button) {
    press(all(".windows button"), button);
    image.style.filter = pictures && pictures.hu ? `url(#window-${button.dataset.window})` : "";
  }

  // Shows the case whose pictures are in the element of this name, at the slice of a number.
  function open(key, name, about, number) {
    title.textContent = name;
    find(".about").replaceChildren(...(about ? [about] : []));
    const text = document.getElementById(key);
    pictures = text ? JSON.parse(text.textContent) : null;
    for (const part of all(".shown, .controls")) part.hidden = !pictures;
    find(".missing").hidden = Boolean(pictures);
    if (!pictures) return;
    find(".planes").replaceChildren(...pictures.views.map((each) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = each.name[0].toUpperCase() + each.name.slice(1);
      button.addEventListener("click", () => choose_view(each));
      return button;
    }));
    find(".planes").hidden = pictures.views.length < 2;
    find(".windows").hidden = !pictures.hu;
    // Of a plain image it is not known which side is which.
    for (const side of all(".side")) side.hidden = pictures.views[0].name === "image";
    choose_window(find('.windows [aria-pressed="true"]'));
    const first = pictures.views[0].slices.findIndex((slice) => slice.n === number);
    if (first >= 0) pictures.views[0].position = first;
    // The next case is shown in the same direction.
    choose_view(pictures.views.find((each) => view && each.name === view.name) || pictures.views[0]);
  }

  const moves = {
    ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, PageDown: 10, PageUp: -10,
    Home: -Infinity, End: Infinity,
  };
  root.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (move === undefined || !pictures || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    show(position + move);
  });
  slider.addEventListener("input", () => show(Number(slider.value)));
  stage.addEventListener("click", () => slider.focus());
  // The wheel turns the slices only after a click, so that the page can still be scrolled.
  stage.addEventListener("wheel", (event) => {
    if (document.activeElement !== slider || event.ctrlKey) return;
    event.preventDefault();
    show(position + Math.sign(event.deltaY));
  }, { passive: false });
  for (const button of all(".windows button")) {
    button.addEventListener("click", () => choose_window(button));
  }
  find(".outline").addEventListener("click", (event) => {
    const shown = event.currentTarget.getAttribute("aria-pressed") !== "true";
    event.currentTarget.setAttribute("aria-pressed", String(shown));
    svg.style.visibility = shown ? "" : "hidden";
  });
  return { open, root };
})();

// Every button that names a case opens it.
const openers = [...document.querySelectorAll("button[data-case]")];
function open_case(button) {
  for (const each of openers) each.removeAttribute("aria-current");
  button.setAttribute("aria-current", "true");
  const about = document.getElementById(button.dataset.about);
  viewer.open(button.dataset.case, button.dataset.title, about && about.content.cloneNode(true),
    Number(button.dataset.slice));
}
for (const button of openers) {
  button.addEventListener("click", () => {
    open_case(button);
    viewer.root.scrollIntoView({ block: "nearest" });
  });
}
if (openers.length) open_case(openers[0]);
