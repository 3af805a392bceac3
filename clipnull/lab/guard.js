// Keys typed in a widget stay in it, and a widget's picture says what it shows.

// keys that a notebook may have although a widget has the focus: with Ctrl or Cmd, those that edit nothing
const edits = new Set(["a", "c", "v", "x", "y", "z", "Enter", "Home", "End", "Delete", "Backspace"])
const ours = e => !(e.ctrlKey || e.metaKey) || edits.has(e.key) || e.key.startsWith("Arrow")

function inWidget(e) {
  const at = e.target instanceof Element && e.target.closest(".jupyter-widgets, .jupyter-widgets-view, .widget-area")
  return at && (at.closest(".jp-Notebook, #notebook") ?? document).querySelector(".clipnull")
}

export default {
  initialize() {
    // every model has a copy of this module; the page needs it once
    if (window.clipnullGuard) return
    window.clipnullGuard = true
    // JupyterLab asks the focused element itself, and asks on the way down or up, by version
    window.addEventListener("keydown", e => {
      if (!inWidget(e)) return
      if (ours(e)) e.target.setAttribute("data-lm-suppress-shortcuts", "true")
      else e.target.removeAttribute("data-lm-suppress-shortcuts")
    }, true)
    // classic notebooks and VS Code listen above the page's body, on the way up
    document.body.addEventListener("keydown", e => { if (inWidget(e) && ours(e)) e.stopPropagation() })
  },
  render({ el }) {
    // the views of a box come one by one, and later
    const describe = () => {
      const box = el.closest(".clipnull"), text = box?.querySelector(".clipnull-alt .widget-html-content")?.textContent
      for (const picture of (text && box.querySelectorAll("img.widget-image")) || []) if (picture.alt !== text) picture.alt = text
    }
    const watch = new MutationObserver(describe)
    const started = setInterval(() => {
      const box = el.closest(".clipnull")
      if (!box) return
      clearInterval(started)
      watch.observe(box, { childList: true, subtree: true, characterData: true })
      describe()
    }, 50)
    return () => { clearInterval(started); watch.disconnect() }
  },
}
