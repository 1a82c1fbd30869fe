import { RelayThreads } from '../../lib/relay/thread/relay-threads.js';
import { nativeFault } from '../support/native.js';
import { engineSuite } from './engine-suite/index.js';

describe('native engine', () => {
  before(function () {
    nativeFault(this);
  });

  for (const threads of [1, 2]) {
    engineSuite(`in ${threads === 1 ? 'one relay thread' : 'two relay threads'}`, async (options, events) => {
      const engine = new RelayThreads({ threads, engine: 'native', options, events });
      await engine.start();
      return engine;
    });
  }
});
