"""What a page must have to be used without a mouse, without sharp eyes, or by a screen reader."""

from __future__ import annotations

from typing import Any

from tests.support.browser import Page

# What a person can use must say what it is.
NAMED = {"button", "slider", "link", "checkbox", "radio", "combobox", "textbox", "image", "group",
         "region", "columnheader", "RootWebArea"}  # fmt: skip
# WCAG 2.2, 1.4.3: contrast of text.
LEAST_CONTRAST = 4.5
# WCAG 2.2, 2.5.8: size of what is clicked, in CSS pixels, if it does not stand in a text.
LEAST_SIZE = 24

# Texts with too little contrast. What is behind is the first ancestor that is not transparent.
CONTRAST = """
(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const linear = [r, g, b].map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let texts = 0;
  while (walk.nextNode()) {
    const text = walk.currentNode.textContent.trim(), element = walk.currentNode.parentElement;
    if (!text || !element.checkVisibility() || !element.getClientRects().length) continue;
    texts++;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < %s) found.push(`${ratio.toFixed(2)}: ${text.slice(0, 40)}`);
  }
  return [texts, found];
})()
"""

# Elements beyond the window, and boxes whose content is cut off at the side.
OVERFLOW = """
(() => {
  const width = document.documentElement.clientWidth, found = [];
  if (document.documentElement.scrollWidth > width) found.push("the page");
  for (const e of document.querySelectorAll("body *")) {
    if (!e.checkVisibility() || e.closest("svg")) continue;
    const box = e.getBoundingClientRect();
    const name = `${e.tagName} ${e.className} ${e.textContent.trim().slice(0, 30)}`;
    if (box.width && (box.right > width + 1 || box.left < -1)) found.push("beyond: " + name);
    if (e.clientWidth && e.scrollWidth > e.clientWidth + 1 && e.tagName !== "INPUT")
      found.push("cut off: " + name);
  }
  return found;
})()
"""


def unnamed(page: Page) -> list[dict[str, Any]]:
    """Return what has no name for assistive technology."""
    return [node for node in page.nodes() if node["role"] in NAMED and not node["name"].strip()]


def misplaced(page: Page) -> list[str]:
    """Return headings that skip a level, and texts outside of header, main part and footer."""
    script = """
    (() => {
      const found = [];
      let level = 0;
      for (const e of document.querySelectorAll("h1, h2, h3, h4")) {
        if (Number(e.tagName[1]) > level + 1) found.push(e.outerHTML);
        level = Number(e.tagName[1]);
      }
      const ignored = "script, style, template, svg, header, main, footer";
      for (const e of document.body.children) if (!e.matches(ignored)) found.push(e.outerHTML);
      return found;
    })()
    """
    return list(page.run(script))


def pale_texts(page: Page) -> list[str]:
    """Return texts with too little contrast; at least one text must be there."""
    count, found = page.run(CONTRAST % LEAST_CONTRAST)
    assert count > 5
    return list(found)


def overflowing(page: Page) -> list[str]:
    """Return what is not within the window."""
    return list(page.run(OVERFLOW))


def tabbed(page: Page, most: int = 400) -> list[str]:
    """Press Tab until the page is left; return what had the focus, each with a visible ring."""
    page.run("document.body.tabIndex = -1, document.body.focus()")  # Tab starts at the top
    found: list[str] = []
    for _ in range(most):
        page.press("Tab")
        name, ring = page.run(
            "(() => { const e = document.activeElement, s = getComputedStyle(e); return ["
            "e === document.body ? '' : e.getAttribute('aria-label') || e.textContent.trim(),"
            "s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 1]; })()"
        )
        if not name:
            return found
        assert ring, f"{name}: has the focus, and that cannot be seen"
        found.append(name)
    raise AssertionError("Tab does not leave the page")
