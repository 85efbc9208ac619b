// Draws the messages of a conversation. The body of `js_on_load` of both parts of the log: what is settled, and the turn
// that is being written. A text is set as text; HTML comes from `jc1_ui.components.markdown` alone.
//
// Frames may be late: a part is drawn only when it belongs to the conversation that was opened last. While another one is
// being opened `session` is null: nothing is drawn, and no message is sent, until it is on screen.

const log = (window.jc1Log ??= { session: null, parts: {} });
const scroller = element.closest("#jc1-log");
const box = element.querySelector(".jc1-messages");

const make = (tag, name, parent, label) => {
  const made = document.createElement(tag);
  made.className = name;
  if (label) made.setAttribute("aria-label", label);
  parent?.append(made);
  return made;
};

// Messages

const makeMessage = (role) => {
  const message = make("article", `jc1-message jc1-${role}`, null, role === "user" ? "You" : "Reply");
  if (role === "user") {
    message.text = make("div", "jc1-text", message);
  } else {
    message.thought = make("details", "jc1-thought", message);
    make("summary", "", message.thought).textContent = "Reasoning";
    message.reasoning = make("div", "jc1-prose", message.thought);
    message.body = make("div", "jc1-prose", message);
    message.waiting = make("span", "jc1-dots", message, "Waiting for the first token");
    message.waiting.append(make("i", ""), make("i", ""), make("i", ""));
    message.stopped = make("span", "jc1-stopped", message);
    message.stopped.textContent = "Stopped";
    message.notices = make("div", "jc1-notices", message);
  }
  message.copy = make("button", "jc1-copy", message);
  message.copy.type = "button";
  message.copy.dataset.copy = "message";
  message.copy.textContent = "Copy";
  return message;
};

const fill = (message, { role, text, reasoning, blocks, state, notices }) => {
  message.source = text;
  message.copy.hidden = !text;
  if (role === "user") {
    message.text.textContent = text;
    return;
  }
  message.thought.hidden = !reasoning.length;
  showBlocks(message.reasoning, reasoning);
  showBlocks(message.body, blocks);
  message.waiting.hidden = state !== "waiting";
  message.stopped.hidden = state !== "stopped";
  message.notices.replaceChildren(...notices.map((notice) => {
    const line = make("p", "");
    line.textContent = notice;
    return line;
  }));
};

// A block that is as it was stays: what a reader selected in it stays selected.
const showBlocks = (parent, blocks) => {
  while (parent.children.length > blocks.length) parent.lastChild.remove();
  blocks.forEach((html, index) => {
    const block = parent.children[index] ?? make("div", "", parent);
    if (block.source === html) return;
    block.source = html;
    block.innerHTML = html;
    drawMaths(block);
  });
};

const showMessages = (messages) => {
  while (box.children.length > messages.length) box.lastChild.remove();
  messages.forEach((message, index) => {
    let item = box.children[index];
    if (!item?.classList.contains(`jc1-${message.role}`)) {
      const made = makeMessage(message.role);
      item ? item.replaceWith(made) : box.append(made);
      item = made;
    }
    fill(item, message);
  });
};

// Formulas, by the KaTeX that Gradio brings

const loadKatex = () => {
  const [script, style] = props.katex.map((name) => new URL(`assets/${name}`, document.baseURI).href);
  const sheet = make("link", "", document.head);
  sheet.rel = "stylesheet";
  sheet.href = style;
  return import(script).then((module) => module.default);
};

const drawMaths = async (block) => {
  const formulas = block.querySelectorAll(".jc1-maths");
  if (!formulas.length || !props.katex) return;
  const katex = await (log.katex ??= loadKatex());
  for (const formula of formulas) {
    const source = formula.textContent.slice(2, -2);
    const displayMode = "display" in formula.dataset;
    katex.render(source, formula, { displayMode, throwOnError: false, strict: "ignore", maxSize: 20, maxExpand: 500 });
  }
};

// The box: what was sent leaves it once the server has it, and what was typed since stays.

const takeOut = (text) => {
  const typed = document.querySelector("#jc1-prompt textarea");
  if (typed.value !== text) return;
  typed.value = "";
  typed.dispatchEvent(new Event("input", { bubbles: true })); // Gradio has a copy of the value.
};

// Which conversation

const draw = () => {
  for (const part of Object.values(log.parts)) part();
  scroller.toggleAttribute("data-empty", !scroller.querySelector(".jc1-message"));
};

let shown = { session: null, messages: [] };
log.parts[props.part] = () => showMessages(shown.session === log.session ? shown.messages : []);

watch("value", () => {
  const value = props.value;
  if (!value || (!value.opens && value.session !== log.session)) return;
  if (value.opens) {
    log.session = value.session;
    sessionStorage.setItem("jc1.session", value.session);
    localStorage.setItem("jc1.session", value.session);
    box.replaceChildren();
    log.follow = true;
  }
  // One who sends a message wants to see it.
  if (!shown.messages.length && value.messages.length) log.follow = true;
  shown = value;
  draw();
  if (value.sent !== undefined) takeOut(value.sent);
});

// Scrolling: the end is followed until the reader scrolls away from it.

if (!scroller.end) {
  const isAtEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 40;
  const end = (scroller.end = make("button", "jc1-end", scroller, "Scroll to the end"));
  end.type = "button";
  const toEnd = () => scroller.scrollTo(0, scroller.scrollHeight);
  end.addEventListener("click", toEnd);
  scroller.addEventListener("scroll", () => {
    log.follow = isAtEnd();
    end.hidden = log.follow;
  });
  end.hidden = log.follow = true;
}
new ResizeObserver(() => log.follow && scroller.scrollTo(0, scroller.scrollHeight)).observe(box);

// Copying

const copy = async (text) => {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = make("textarea", "", document.body); // A page that is not served over https has no clipboard.
  area.value = text;
  area.select();
  document.execCommand("copy");
  area.remove();
};

element.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const code = button.closest(".jc1-code");
  await copy(code ? code.querySelector("code").textContent : button.closest(".jc1-message").source);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
});
