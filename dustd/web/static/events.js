// Listens to dustd's events, as a SharedWorker for all tabs, or as a script in a page where there are none. A classic
// script: not every browser takes modules for shared workers.

(() => {
  const KINDS = ["state", "frame", "command", "bodies", "trouble"];
  const PAUSE_MS = 1500;
  const SILENT_MS = 40000; // dustd says something each 15 s, if only that it is still there
  const ports = new Set();
  let source = null;
  let lastState = null;
  let open = null;
  let watchdog = 0;

  function tell(message) {
    if (self.dustdHear) self.dustdHear(message);
    for (const port of ports) port.postMessage(message);
  }

  function setOpen(is) {
    if (open === is) return;
    open = is;
    tell(["connection", is]);
  }

  function again() {
    source?.close();
    source = null;
    setOpen(false);
    setTimeout(start, PAUSE_MS);
  }

  function heard() {
    clearTimeout(watchdog);
    watchdog = setTimeout(again, SILENT_MS);
  }

  function start() {
    if (source) return;
    source = new EventSource("/api/v1/events");
    heard();
    source.onopen = () => {
      heard();
      setOpen(true);
    };
    source.onerror = again;
    for (const kind of KINDS) {
      source.addEventListener(kind, ({ data }) => {
        heard();
        const value = data ? JSON.parse(data) : null;
        if (kind === "state") lastState = value;
        tell([kind, value]);
      });
    }
  }

  self.onconnect = ({ ports: [port] }) => {
    ports.add(port);
    port.onmessage = ({ data }) => {
      if (data === "bye") ports.delete(port);
    };
    if (lastState) port.postMessage(["state", lastState]);
    if (open !== null) port.postMessage(["connection", open]);
  };
  start();
})();
