/** A server whose certificate is of an authority that node was not told to trust. */
'use strict';

const { Device, assert, idOf, scenario, step } = require('../harness');

scenario(async () => {
  step('an opening');
  const error = await new Device().open(idOf('ann')).then(
    () => assert.fail('it succeeded'),
    (reason) => reason,
  );
  return `${error.code} ${error.stack}`;
});
