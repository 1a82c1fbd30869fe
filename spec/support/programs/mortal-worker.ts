/** A relay thread that dies of an exception when it is told so on the channel `relay-thread-dies`. */
const channel = new BroadcastChannel('relay-thread-dies');
channel.unref();
channel.onmessage = () => {
  throw new Error('told to die');
};
await import('../../../lib/relay/thread/worker.js');
