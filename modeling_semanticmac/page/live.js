// The fields of a live recording: camera and microphone go to the web socket `live`, results come back as HTML.
// Gradio calls this with `element`, the fields of live_tab.py.
const part = (name) => element.querySelector(".smac-" + name);
const start = part("start"), camera = part("camera"), microphone = part("microphone"), words = part("live-words");
const preview = part("preview"), output = part("live-result");
const rate = Number(part("live").dataset.rate); // pictures a second
const WIDTH = 640; // of a picture that is sent
const MOST_BEHIND = 500000; // bytes that wait to be sent; with more, pictures are left out
const START = start.textContent;

// Gathers a quarter of a second of sound, mono.
const TAP = `registerProcessor("tap", class extends AudioWorkletProcessor {
  constructor() { super(); this.parts = []; this.size = 0; }
  process(inputs) {
    if (inputs[0].length) { this.parts.push(inputs[0][0].slice()); this.size += inputs[0][0].length; }
    if (this.size >= sampleRate / 4) {
      const all = new Float32Array(this.size);
      let at = 0;
      for (const one of this.parts) { all.set(one, at); at += one.length; }
      this.port.postMessage(all);
      this.parts = []; this.size = 0;
    }
    return true;
  }
});`;

let running = null; // what `stop` ends

const say = (sentence) => {
  output.innerHTML = '<p class="smac-error" role="alert"></p>';
  output.firstChild.textContent = sentence;
};

const base64 = (bytes) => {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
};

const stop = () => {
  if (!running) return;
  const { stream, socket, timer, context } = running;
  running = null;
  clearInterval(timer);
  stream.getTracks().forEach((track) => track.stop());
  if (context) context.close();
  socket.close();
  preview.srcObject = null;
  start.textContent = START;
};

const opened = (socket) =>
  new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error("The server cannot be reached; load the page again."));
  });

const listen = async (stream, socket, begin) => {
  const context = new AudioContext();
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([TAP], { type: "text/javascript" })));
  const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
  tap.port.onmessage = ({ data }) => {
    const pcm = Int16Array.from(data, (value) => Math.max(-1, Math.min(1, value)) * 32767);
    const sound_time = Math.max(0, (performance.now() - begin) / 1000 - data.length / context.sampleRate);
    const sound = base64(new Uint8Array(pcm.buffer));
    if (socket.readyState === 1) {
      socket.send(JSON.stringify({ sound, sampling_rate: Math.round(context.sampleRate), sound_time }));
    }
  };
  context.createMediaStreamSource(stream).connect(tap);
  return context;
};

const look = (stream, socket, begin) => {
  preview.srcObject = stream;
  preview.play();
  const canvas = document.createElement("canvas");
  return setInterval(() => {
    if (!preview.videoWidth || socket.readyState !== 1 || socket.bufferedAmount > MOST_BEHIND) return;
    canvas.width = Math.min(WIDTH, preview.videoWidth);
    canvas.height = Math.round((canvas.width * preview.videoHeight) / preview.videoWidth);
    canvas.getContext("2d").drawImage(preview, 0, 0, canvas.width, canvas.height);
    const frame = canvas.toDataURL("image/jpeg", 0.85).split(",")[1];
    socket.send(JSON.stringify({ frame, time: (performance.now() - begin) / 1000 }));
  }, 500 / rate); // twice as often as the model looks, so that each time on its grid has a picture
};

const begin = async () => {
  if (!navigator.mediaDevices) throw new Error("A browser gives camera and microphone only to pages with https, or of this machine.");
  if (!camera.checked && !microphone.checked) throw new Error("Choose the camera, the microphone, or both.");
  const stream = await navigator.mediaDevices.getUserMedia({ video: camera.checked, audio: microphone.checked });
  const address = new URL("live", location.href.split(/[?#]/)[0]);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  running = { stream, socket };
  await opened(socket);
  output.innerHTML = '<p class="smac-empty">Listening and looking ...</p>';
  start.textContent = "Stop";
  socket.onmessage = ({ data }) => {
    const answer = JSON.parse(data);
    if (answer.error) say(answer.error);
    else output.innerHTML = answer.html;
  };
  socket.onclose = stop;
  if (words.value) socket.send(JSON.stringify({ text: words.value }));
  const now = performance.now();
  if (camera.checked) running.timer = look(stream, socket, now);
  if (microphone.checked) running.context = await listen(stream, socket, now);
};

start.addEventListener("click", () => {
  if (running) stop();
  else
    begin().catch((error) => {
      stop();
      say(error.name === "NotAllowedError" ? "The browser was not allowed to use them." : error.message);
    });
});
words.addEventListener("change", () => {
  if (running) running.socket.send(JSON.stringify({ text: words.value || null }));
});
