import { createPortableEngine } from '../../lib/relay/portable/engine.js';
import { RelayThreads } from '../../lib/relay/thread/relay-threads.js';
import { engineSuite } from './engine-suite/index.js';

engineSuite('portable engine', (options, events) => createPortableEngine(options, events));

engineSuite('portable engine in relay threads', async (options, events) => {
  const threads = new RelayThreads({ threads: 2, engine: 'portable', options, events });
  await threads.start();
  return threads;
});
