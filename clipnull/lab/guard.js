// Keys typed in a widget stay in it, its picture and menus say what they are, and a large upload is made small.

// keys that a notebook may have although a widget has the focus: with Ctrl or Cmd, those that edit nothing
const edits = new Set(["a", "c", "v", "x", "y", "z", "Enter", "Home", "End", "Delete", "Backspace"])
const ours = e => !(e.ctrlKey || e.metaKey) || edits.has(e.key) || e.key.startsWith("Arrow")

function inWidget(e) {
  const at = e.target instanceof Element && e.target.closest(".jupyter-widgets, .jupyter-widgets-view, .widget-area")
  return at && (at.closest(".jp-Notebook, #notebook") ?? document).querySelector(".clipnull")
}

// a server closes the connection at a message of more than 10 MB, and says nothing; in pixels
const most = 8e6, side = 1024

/** A smaller picture in place of a file that is too large; of what is no picture, enough to say so. */
async function smaller(file) {
  try {
    const whole = await createImageBitmap(file), k = Math.min(1, side / Math.max(whole.width, whole.height))
    const small = new OffscreenCanvas(Math.ceil(k * whole.width), Math.ceil(k * whole.height))
    Object.assign(small.getContext("2d"), { imageSmoothingQuality: "high" }).drawImage(whole, 0, 0, small.width, small.height)
    return new File([await small.convertToBlob()], file.name, { type: "image/png" })
  } catch { return new File([file.slice(0, 1000)], file.name, { type: file.type }) }
}

/** Hear of what is chosen before the upload's own listener does. */
async function chosen(e) {
  if (![...this.files].some(file => file.size > most)) return
  e.stopImmediatePropagation()
  const all = new DataTransfer()
  for (const file of this.files) all.items.add(file.size > most ? await smaller(file) : file)
  this.files = all.files
  this.dispatchEvent(new Event("change"))
}

/** An upload's input is no part of the page: it is met when its button clicks it. */
function meet(e) {
  if (!(e.target instanceof Element && e.target.closest(".clipnull .widget-upload"))) return
  const kind = HTMLInputElement.prototype, click = kind.click
  kind.click = function () { this.addEventListener("change", chosen, true); click.call(this) }
  setTimeout(() => { kind.click = click })
}

export default {
  initialize() {
    // every model has a copy of this module; the page needs it once
    if (window.clipnullGuard) return
    window.clipnullGuard = true
    window.addEventListener("click", meet, true)
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
      for (const tip of el.closest(".clipnull")?.querySelectorAll("label [title]") ?? []) {
        const menu = tip.closest(".jupyter-widgets").querySelector("select")
        if (menu && menu.title !== tip.title) menu.title = tip.title
      }
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
