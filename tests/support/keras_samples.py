"""Code samples of Keras articles, and a way to run them with kgraph in the place of Keras.

They are as printed, but for spaces at line ends.
"""

from __future__ import annotations

from typing import Any

from kgraph.compat import install, uninstall

CLASSIFIER = """
from keras.models import Sequential
from keras.layers import Dense

# define the neural network architecture
model = Sequential()
model.add(Dense(units=64, activation='relu', input_dim=input_shape[1]))
model.add(Dense(units=num_classes, activation='softmax'))
"""

LIST = """
from keras.models import Sequential
from keras.layers import Dense, Activation

# create a sequential model
model = Sequential([
    Dense(units=64, activation='relu'),
    Dense(units=32, activation='relu'),
    Dense(units=num_classes, activation='softmax')
])
"""

FROM_ROOT = """
from keras import Sequential
from keras.layers import Dense, Activation

model = Sequential()
model.add(Dense(units=64, input_dim=100)) # 添加全连接层
model.add(Activation('relu'))            # 添加激活函数层
model.add(Dense(units=10))               # 添加另一个全连接层
model.add(Activation('softmax'))         # 添加softmax激活函数
"""

TWO_LAYERS = """
from keras.models import Sequential
from keras.layers import Dense

model = Sequential()
model.add(Dense(units=32, input_dim=784))
model.add(Dense(units=10, activation='softmax'))
"""

SEQUENTIAL = """
from keras.models import Sequential
from keras.layers import Dense, Activation

model = Sequential()
model.add(Dense(units=20, input_dim=10)) # 添加第一层全连接层
model.add(Activation('relu'))            # 添加ReLU激活层
model.add(Dense(units=30))               # 添加第二层全连接层
model.add(Activation('softmax'))         # 添加Softmax激活层
"""

FUNCTIONAL = """
from keras.models import Model
from keras.layers import Input, Dense, Activation

inputs = Input(shape=(10,))        # 创建输入层
x = Dense(units=20)(inputs)       # 第一次全连接层
x = Activation('relu')(x)          # ReLU激活层
outputs = Dense(units=30)(x)      # 第二次全连接层

model = Model(inputs=inputs, outputs=outputs)   # 使用Model封装模型
"""

BRANCHES = """
from keras.models import Input, Model
from keras.layers import Dense, Concatenate, Reshape

# define an input tensor with shape (samples, timesteps, features)
input_tensor = Input(shape=(timesteps, num_features,))

# define two parallel branches of the network
branch1 = Dense(units=64, activation='relu')(input_tensor)
branch2 = Dense(units=32, activation='relu')(input_tensor)

# merge the branches using concatenation
merged = Concatenate()([branch1, branch2])

# apply additional layers on the concatenated output
z = Dense(units=16, activation='relu')(merged)
z = Dense(units=8, activation='relu')(z)
pred = Dense(units=1, activation='sigmoid')(z)

# build the functional model
model = Model(inputs=input_tensor, outputs=pred)
"""

TWO_INPUTS = """
from keras import Input, Model
from keras.layers import Dense, Concatenate

inputA = Input(shape=(100,))           # 定义输入A
inputB = Input(shape=(10,))            # 定义输入B
denseA = Dense(units=64)(inputA)       # 添加第一个全连接层
activationA = Activation('relu')(denseA)   # 添加激活函数层
denseB = Dense(units=32)(inputB)       # 添加第二个全连接层
concatAB = Concatenate()([activationA, denseB])    # 将两个输入合并
output = Dense(units=1, activation='sigmoid')(concatAB)      # 添加输出层
model = Model(inputs=[inputA, inputB], outputs=output)        # 创建模型对象
"""

BUILTIN = """
from keras.models import Model
from keras.layers import Input, Dense

input1 = Input(shape=(1000,))
input2 = Input(shape=(100,))
hidden = Dense(units=32, activation='relu')(input)
output = Dense(units=1, activation='sigmoid')(hidden)
model = Model([input1, input2], output)
"""

CONVOLUTION = """
from keras.models import Sequential
from keras.layers import Conv2D, MaxPooling2D

# define the neural network architecture
model = Sequential()
model.add(Conv2D(filters=32, kernel_size=(3,3), padding='same', activation='relu', input_shape=input_shape))
model.add(MaxPooling2D(pool_size=(2,2)))
"""

STACKED_LSTM = """
from keras.models import Sequential
from keras.layers import LSTM, Dropout

# define the neural network architecture
model = Sequential()
model.add(LSTM(units=128, return_sequences=True, input_shape=(None, num_features)))
model.add(Dropout(rate=0.2))
model.add(LSTM(units=64))
model.add(Dropout(rate=0.2))
model.add(Dense(units=num_classes, activation='softmax'))
"""

EMBEDDING = """
from keras.models import Sequential
from keras.layers import Embedding

# define the neural network architecture
model = Sequential()
model.add(Embedding(input_dim=vocab_size, output_dim=embedding_dim, input_length=maxlen))
model.add(Flatten())
model.add(Dense(units=num_classes, activation='sigmoid'))
"""

ENSEMBLE = """
from keras.models import Model
from keras.layers import Input, Dense
import tensorflow as tf

# define multiple sub-networks for classification
branches = []
for i in range(num_sub_networks):
    # define an input tensor for each sub-network
    inputs = Input((timesteps, num_features,))

    # add some dense layers to the input tensor
    z = Dense(units=64, activation='relu')(inputs)
    z = Dense(units=32, activation='relu')(z)

    # add a final sigmoid layer for classification
    pred = Dense(units=num_classes, activation='sigmoid')(z)

    # append the constructed sub-network to the list of branches
    branches.append(pred)

# combine the branches into one multi-output model
outputs = [branch[:, None] for branch in branches]
ensemble_pred = Concatenate()(outputs)
model = Model(inputs=inputs, outputs=[ensemble_pred])

# use mean square error as loss function
mse = tf.keras.losses.mean_squared_error
mae = tf.keras.metrics.mean_absolute_error
model.compile(loss=mse,
              metrics={'output_%d' % i: mae for i in range(num_sub_networks)},
              optimizer='adam')
"""

IMAGE_CLASSIFIER = """
from keras.models import Sequential
from keras.layers import Conv2D, MaxPooling2D, Flatten, Dense

# create model
model = Sequential()
model.add(Conv2D(filters=32, kernel_size=(3,3), padding='same', activation='relu', input_shape=input_shape))
model.add(MaxPooling2D(pool_size=(2,2)))
model.add(Flatten())
model.add(Dense(units=128, activation='relu'))
model.add(Dense(units=num_classes, activation='softmax'))
"""

COMPILE = """
model.compile(loss='categorical_crossentropy', optimizer='adam')
"""

FIT = """
model.fit(X_train, Y_train, epochs=epochs, batch_size=batch_size, verbose=verbose, validation_data=(X_test, Y_test))
"""

EVALUATE = """
score = model.evaluate(X_test, Y_test, verbose=0)
print('Test loss:', score[0])
print('Test accuracy:', score[1])
"""

COMPILE_WITH_OBJECTS = """
from keras.optimizers import Adam
from keras.metrics import categorical_accuracy

# compile model
model.compile(loss='categorical_crossentropy', optimizer=Adam(), metrics=[categorical_accuracy])
"""

PLACEHOLDER = """
from keras.layers import Input

# This returns a placeholder tensor with shape (batch_size, height, width, channels),
# and dtype float32:
input_tensor = Input(shape=(height, width, channels))
"""

COMPILE_BY_NAMES = """
model.compile(optimizer='rmsprop',
              loss='categorical_crossentropy',
              metrics=['accuracy'])
"""

COMPILE_OLD_SGD = """
model.compile(optimizer=SGD(lr=0.01, momentum=0.9, nesterov=True),
              loss='categorical_crossentropy')
"""

OLD_IMPORT_PATH = """
from keras.layers import Dense, Activation, Dropout, Flatten
from keras.layers.normalization import BatchNormalization

model.add(Dense(64))
model.add(Activation('relu'))
model.add(Dropout(0.5))
model.add(BatchNormalization())
model.add(Dense(num_classes))
model.add(Activation('softmax'))
"""

SUBCLASS = """
from keras.models import Model
from keras.layers import Input, Dense, Reshape
import numpy as np

class MyModel(Model):
    def __init__(self):
        super().__init__()
        self.fc1 = Dense(64, activation='relu')
        self.fc2 = Dense(32, activation='relu')
        self.fc3 = Dense(16, activation='relu')

    def call(self, x):
        x = self.fc1(x)
        x = self.fc2(x)
        return self.fc3(x)

input_data = Input((2,))              # 定义输入层
x = Dense(64, activation='relu')(input_data)     # 添加第一个全连接层
x = Dense(32, activation='relu')(x)             # 添加第二个全连接层
predictions = Dense(1, activation='sigmoid')(x)  # 添加输出层

model = MyModel()(input_data)                    # 创建自定义模型对象
model.compile(loss='binary_crossentropy', optimizer='adam')          # 配置编译器
model.fit(np.random.rand(100, 2), np.random.randint(2, size=(100,)), epochs=5)  # 训练模型

print(model.predict([[0.5, 0.6]]))                  # 使用模型进行预测
"""

CNN_FACTORY = """
from keras.models import Sequential
from keras.layers import Conv2D, MaxPooling2D, Flatten, Dense, Dropout

def create_model():
    model = Sequential()

    model.add(Conv2D(filters=32, kernel_size=(3, 3), padding="same",
                     activation="relu", input_shape=(28, 28, 1)))
    model.add(MaxPooling2D(pool_size=(2, 2)))

    model.add(Conv2D(filters=64, kernel_size=(3, 3), padding="same",
                     activation="relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))

    model.add(Conv2D(filters=128, kernel_size=(3, 3), padding="same",
                     activation="relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))

    model.add(Flatten())
    model.add(Dense(units=128, activation="relu"))
    model.add(Dropout(rate=0.5))
    model.add(Dense(units=10, activation="softmax"))

    return model

model = create_model()
"""


def run(code: str, **names: Any) -> dict[str, Any]:
    """The names that `code` defines, where `names` are known and Keras is kgraph."""
    scope: dict[str, Any] = {"__name__": "sample", **names}
    install()
    try:
        exec(compile(code, "sample.py", "exec"), scope)
    finally:
        uninstall()
    return scope
