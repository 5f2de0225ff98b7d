"""The layers of `keras.layers`."""

from typing import TYPE_CHECKING

from kgraph.lazy_names import lazily

if TYPE_CHECKING:
    from kgraph.layers.activation import ELU, LeakyReLU, PReLU, ReLU, Softmax
    from kgraph.layers.attention import AdditiveAttention, Attention
    from kgraph.layers.base import Layer
    from kgraph.layers.convolutional import (
        Conv1D,
        Conv1DTranspose,
        Conv2D,
        Conv2DTranspose,
        Conv3D,
        Conv3DTranspose,
        Convolution1D,
        Convolution1DTranspose,
        Convolution2D,
        Convolution2DTranspose,
        Convolution3D,
        Convolution3DTranspose,
        DepthwiseConv1D,
        DepthwiseConv2D,
        SeparableConv1D,
        SeparableConv2D,
        SeparableConvolution1D,
        SeparableConvolution2D,
    )
    from kgraph.layers.core import Activation, Dense, Identity
    from kgraph.layers.einsum_dense import EinsumDense
    from kgraph.layers.embedding import Embedding
    from kgraph.layers.input import Input, InputLayer
    from kgraph.layers.input_spec import InputSpec
    from kgraph.layers.lambda_layer import Lambda
    from kgraph.layers.masking import Masking
    from kgraph.layers.merging import (
        Add,
        Average,
        Concatenate,
        Dot,
        Maximum,
        Minimum,
        Multiply,
        Subtract,
        add,
        average,
        concatenate,
        dot,
        maximum,
        minimum,
        multiply,
        subtract,
    )
    from kgraph.layers.multi_head_attention import GroupQueryAttention, MultiHeadAttention
    from kgraph.layers.normalization import (
        BatchNormalization,
        GroupNormalization,
        LayerNormalization,
        RMSNormalization,
        UnitNormalization,
    )
    from kgraph.layers.padding import (
        Cropping1D,
        Cropping2D,
        Cropping3D,
        UpSampling1D,
        UpSampling2D,
        UpSampling3D,
        ZeroPadding1D,
        ZeroPadding2D,
        ZeroPadding3D,
    )
    from kgraph.layers.pooling import (
        AveragePooling1D,
        AveragePooling2D,
        AveragePooling3D,
        AvgPool1D,
        AvgPool2D,
        AvgPool3D,
        GlobalAveragePooling1D,
        GlobalAveragePooling2D,
        GlobalAveragePooling3D,
        GlobalAvgPool1D,
        GlobalAvgPool2D,
        GlobalAvgPool3D,
        GlobalMaxPool1D,
        GlobalMaxPool2D,
        GlobalMaxPool3D,
        GlobalMaxPooling1D,
        GlobalMaxPooling2D,
        GlobalMaxPooling3D,
        MaxPool1D,
        MaxPool2D,
        MaxPool3D,
        MaxPooling1D,
        MaxPooling2D,
        MaxPooling3D,
    )
    from kgraph.layers.preprocessing.categories import CategoryEncoding, Discretization
    from kgraph.layers.preprocessing.hashing import Hashing
    from kgraph.layers.preprocessing.image_sizes import CenterCrop, Resizing
    from kgraph.layers.preprocessing.lookup import IntegerLookup, StringLookup
    from kgraph.layers.preprocessing.random_images import RandomBrightness, RandomContrast, RandomCrop, RandomFlip
    from kgraph.layers.preprocessing.random_maps import RandomRotation, RandomShear, RandomTranslation, RandomZoom
    from kgraph.layers.preprocessing.statistics import Normalization
    from kgraph.layers.preprocessing.text import TextVectorization
    from kgraph.layers.recurrent import (
        GRU,
        LSTM,
        RNN,
        Bidirectional,
        ConvLSTM1D,
        ConvLSTM2D,
        ConvLSTM3D,
        GRUCell,
        LSTMCell,
        SimpleRNN,
        SimpleRNNCell,
        StackedRNNCells,
        TimeDistributed,
    )
    from kgraph.layers.regularization import (
        ActivityRegularization,
        AlphaDropout,
        Dropout,
        GaussianDropout,
        GaussianNoise,
        SpatialDropout1D,
        SpatialDropout2D,
        SpatialDropout3D,
    )
    from kgraph.layers.rescaling import Rescaling
    from kgraph.layers.reshaping import Flatten, Permute, RepeatVector, Reshape
    from kgraph.layers.wrapping import SpectralNormalization, Wrapper
    from kgraph.serialization import deserialize_keras_object as deserialize
    from kgraph.serialization import serialize_keras_object as serialize

__all__ = [
    "deserialize",
    "serialize",
    "Bidirectional",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "GRU",
    "GRUCell",
    "LSTM",
    "LSTMCell",
    "RNN",
    "SimpleRNN",
    "SimpleRNNCell",
    "StackedRNNCells",
    "TimeDistributed",
    "ELU",
    "Activation",
    "Add",
    "Concatenate",
    "Dense",
    "Dropout",
    "Flatten",
    "Input",
    "InputLayer",
    "InputSpec",
    "Layer",
    "LeakyReLU",
    "ReLU",
    "Reshape",
    "Softmax",
    "add",
    "concatenate",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "Convolution1D",
    "Convolution1DTranspose",
    "Convolution2D",
    "Convolution2DTranspose",
    "Convolution3D",
    "Convolution3DTranspose",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "SeparableConv1D",
    "SeparableConv2D",
    "SeparableConvolution1D",
    "SeparableConvolution2D",
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "AvgPool1D",
    "AvgPool2D",
    "AvgPool3D",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalAvgPool3D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPool3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPool3D",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
    "PReLU",
    "Identity",
    "Average",
    "Dot",
    "Maximum",
    "Minimum",
    "Multiply",
    "Subtract",
    "average",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "subtract",
    "BatchNormalization",
    "GroupNormalization",
    "LayerNormalization",
    "RMSNormalization",
    "UnitNormalization",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "Rescaling",
    "Permute",
    "RepeatVector",
    "EinsumDense",
    "Embedding",
    "AdditiveAttention",
    "Attention",
    "GroupQueryAttention",
    "MultiHeadAttention",
    "ActivityRegularization",
    "Lambda",
    "Masking",
    "SpectralNormalization",
    "Wrapper",
    "CategoryEncoding",
    "CenterCrop",
    "Discretization",
    "Normalization",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomFlip",
    "RandomRotation",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
    "Resizing",
    "Hashing",
    "IntegerLookup",
    "StringLookup",
    "TextVectorization",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "kgraph.layers.activation": "ELU LeakyReLU PReLU ReLU Softmax",
        "kgraph.layers.attention": "AdditiveAttention Attention",
        "kgraph.layers.base": "Layer",
        "kgraph.layers.convolutional": (
            "Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose Convolution1D "
            "Convolution1DTranspose Convolution2D Convolution2DTranspose Convolution3D Convolution3DTranspose "
            "DepthwiseConv1D DepthwiseConv2D SeparableConv1D SeparableConv2D SeparableConvolution1D "
            "SeparableConvolution2D"
        ),
        "kgraph.layers.core": "Activation Dense Identity",
        "kgraph.layers.einsum_dense": "EinsumDense",
        "kgraph.layers.embedding": "Embedding",
        "kgraph.layers.input": "Input InputLayer",
        "kgraph.layers.input_spec": "InputSpec",
        "kgraph.layers.lambda_layer": "Lambda",
        "kgraph.layers.masking": "Masking",
        "kgraph.layers.merging": (
            "Add Average Concatenate Dot Maximum Minimum Multiply Subtract add average concatenate dot "
            "maximum minimum multiply subtract"
        ),
        "kgraph.layers.multi_head_attention": "GroupQueryAttention MultiHeadAttention",
        "kgraph.layers.normalization": (
            "BatchNormalization GroupNormalization LayerNormalization RMSNormalization UnitNormalization"
        ),
        "kgraph.layers.padding": (
            "Cropping1D Cropping2D Cropping3D UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D "
            "ZeroPadding2D ZeroPadding3D"
        ),
        "kgraph.layers.pooling": (
            "AveragePooling1D AveragePooling2D AveragePooling3D AvgPool1D AvgPool2D AvgPool3D "
            "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalAvgPool1D "
            "GlobalAvgPool2D GlobalAvgPool3D GlobalMaxPool1D GlobalMaxPool2D GlobalMaxPool3D "
            "GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D MaxPool1D MaxPool2D MaxPool3D "
            "MaxPooling1D MaxPooling2D MaxPooling3D"
        ),
        "kgraph.layers.preprocessing.categories": "CategoryEncoding Discretization",
        "kgraph.layers.preprocessing.hashing": "Hashing",
        "kgraph.layers.preprocessing.image_sizes": "CenterCrop Resizing",
        "kgraph.layers.preprocessing.lookup": "IntegerLookup StringLookup",
        "kgraph.layers.preprocessing.random_images": "RandomBrightness RandomContrast RandomCrop RandomFlip",
        "kgraph.layers.preprocessing.random_maps": "RandomRotation RandomShear RandomTranslation RandomZoom",
        "kgraph.layers.preprocessing.statistics": "Normalization",
        "kgraph.layers.preprocessing.text": "TextVectorization",
        "kgraph.layers.recurrent": (
            "GRU LSTM RNN Bidirectional ConvLSTM1D ConvLSTM2D ConvLSTM3D GRUCell LSTMCell SimpleRNN "
            "SimpleRNNCell StackedRNNCells TimeDistributed"
        ),
        "kgraph.layers.regularization": (
            "ActivityRegularization AlphaDropout Dropout GaussianDropout GaussianNoise SpatialDropout1D "
            "SpatialDropout2D SpatialDropout3D"
        ),
        "kgraph.layers.rescaling": "Rescaling",
        "kgraph.layers.reshaping": "Flatten Permute RepeatVector Reshape",
        "kgraph.layers.wrapping": "SpectralNormalization Wrapper",
        "kgraph.serialization": "deserialize=deserialize_keras_object serialize=serialize_keras_object",
    },
)
